/* A closed-loop load generator: each connection has one request on its way, and sends the next one when it is answered.
 *
 *   uload ADDRESS REQUESTS CONNECTIONS SECONDS    ADDRESS: /path of a Unix socket, or HOST:PORT
 *   uload spin CPU                                keep a processor from halting, at the lowest priority
 *
 * REQUESTS is a file of requests, each a line with its length and then its bytes; they are sent in turn. Answers are
 * framed as HTTP/1.1 with Content-Length, or as RESP bulk strings. Sixteen # in a request become its number. Prints one line of JSON; when time is up, what is on
 * its way is still waited for, so that `n` is the number of acknowledged requests; the first 200 of them are not measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (1 << 22)
#define MAX_REQUESTS 4096
#define MAX_SAMPLES 20000000
#define WARM_UP 200

struct request { char *bytes; long size; char *number; };
struct connection { int fd; char *buffer; long have; double sent; };

static struct request requests[MAX_REQUESTS];
static int request_count;
static unsigned long next_request, first_number;
static float *samples;
static size_t sample_count, answered;
static double seconds_wanted, started, finish = 1e300; /* time counts from the end of the warm-up */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
  fprintf(stderr, "uload: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int dial(const char *address) {
  int fd, one = 1;
  if (address[0] == '/') {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, address, sizeof to.sun_path - 1);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (void *)&to, sizeof to)) fail("connect");
    return fd;
  }
  char host[64] = "";
  const char *colon = strchr(address, ':');
  memcpy(host, address, colon - address);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(colon + 1))};
  inet_pton(AF_INET, host, &to.sin_addr);
  fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (void *)&to, sizeof to)) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void load_requests(const char *path) {
  FILE *file = fopen(path, "rb");
  long size;
  if (!file) fail(path);
  while (request_count < MAX_REQUESTS && fscanf(file, "%ld", &size) == 1 && fgetc(file) == '\n') {
    struct request *each = &requests[request_count++];
    each->size = size;
    each->bytes = malloc(size);
    if (fread(each->bytes, 1, size, file) != (size_t)size) fail("requests are cut short");
    each->number = memmem(each->bytes, size, "################", 16);
  }
  fclose(file);
  if (!request_count) fail("no requests");
}

/* The size of the complete answer at the start of the buffer, 0 while it is not complete. */
static long answer_size(struct connection *c) {
  long size;
  char *end;
  c->buffer[c->have] = 0;
  if (c->buffer[0] == '$') {
    end = strstr(c->buffer, "\r\n");
    if (!end) return 0;
    size = end + 2 - c->buffer + atol(c->buffer + 1) + 2;
    return c->have >= size ? size : 0;
  }
  end = strstr(c->buffer, "\r\n\r\n");
  if (!end) return 0;
  if (strncmp(c->buffer, "HTTP/1.1 200 ", 13)) {
    fprintf(stderr, "uload: refused: %s\n", c->buffer);
    exit(1);
  }
  size = end + 4 - c->buffer + atol(strcasestr(c->buffer, "content-length:") + 15);
  return c->have >= size ? size : 0;
}

static void ask(struct connection *c) {
  struct request *each = &requests[next_request++ % request_count];
  if (each->number) {
    char number[17];
    snprintf(number, sizeof number, "%016lx", first_number + next_request);
    memcpy(each->number, number, 16);
  }
  c->sent = now();
  if (write(c->fd, each->bytes, each->size) != each->size) fail("write");
}

/* Read; returns whether the answer is complete. */
static int listen_to(struct connection *c) {
  long got = read(c->fd, c->buffer + c->have, BUFFER - 1 - c->have);
  if (got <= 0) fail("the server closed");
  c->have += got;
  if (!answer_size(c)) return 0;
  c->have = 0;
  double at = now();
  if (++answered > WARM_UP && sample_count < MAX_SAMPLES) samples[sample_count++] = (at - c->sent) * 1e6;
  if (answered == WARM_UP) finish = (started = at) + seconds_wanted;
  return 1;
}

static void run(struct connection *all, int count) {
  struct epoll_event events[256];
  int poll = epoll_create1(0), open = count;
  for (int i = 0; i < count; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
    ask(&all[i]);
  }
  while (open > 0) {
    int ready = epoll_wait(poll, events, 256, 10000);
    if (ready <= 0) fail("no answer for 10 s");
    for (int i = 0; i < ready; i++) {
      struct connection *c = &all[events[i].data.u32];
      if (!listen_to(c)) continue;
      if (now() < finish) ask(c); else open--;
    }
  }
}

static void run_one(struct connection *c) {
  do {
    ask(c);
    while (!listen_to(c));
  } while (now() < finish);
}

static void spin(int cpu) {
  struct sched_param lowest = {0};
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sched_setaffinity(0, sizeof set, &set);
  if (sched_setscheduler(0, SCHED_IDLE, &lowest)) fail("SCHED_IDLE");
  for (volatile long i = 0;; i++);
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "spin")) spin(atoi(argv[2]));
  if (argc != 5) return 2;
  int count = atoi(argv[3]);
  struct connection *all = calloc(count, sizeof *all);
  load_requests(argv[2]);
  first_number = (unsigned long)(now() * 1e6) << 12; /* no two runs share one */
  samples = malloc(MAX_SAMPLES * sizeof *samples);
  for (int i = 0; i < count; i++) all[i] = (struct connection){.fd = dial(argv[1]), .buffer = malloc(BUFFER)};
  seconds_wanted = atof(argv[4]);
  if (count == 1) run_one(all); else run(all, count);
  double seconds = now() - started;
  qsort(samples, sample_count, sizeof *samples, ascending);
  printf("{\"n\": %zu, \"per_second\": %.0f, \"min_us\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", answered,
         sample_count / seconds, samples[0], samples[sample_count / 2], samples[(size_t)(sample_count * .99)]);
  return 0;
}
