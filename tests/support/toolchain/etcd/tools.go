//go:build tools

// Package tools names the programs, so that go.sum covers what they are built from.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
