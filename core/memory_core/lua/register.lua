-- What callers see.

local function register(name, callback, flags)
  redis.register_function{function_name = 'am1_' .. name, callback = callback, flags = flags}
end

local FREES, READS = {'allow-oom'}, {'no-writes'}  -- what frees memory is allowed when memory is short
register('append', append, {})
register('read', read, READS)
register('stats', stats, READS)
register('delete_message', delete_message, FREES)
register('clear', clear, FREES)
register('delete_instance', delete_instance, FREES)
register('put_config', put_config, FREES)
register('delete_config', delete_config, FREES)
register('register_instance', register_instance, {})
register('unregister_instance', unregister_instance, FREES)
