import { PRELUDE } from './prelude.js'

/**
 * Gives a job back that this process has popped and not begun: it is the next to be taken.
 *
 * ARGV: id; and, where it was to begin, timestamp, token, its text. Answers 1 when it is waiting again.
 */
export const GIVE_BACK = `${PRELUDE}
local id, timestamp, token, raw = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if token then
  local field = id .. '@' .. timestamp
  local owner = redis.call('hget', OWNERS, field)
  if owner and owner ~= token then return 0 end
  redis.call('hdel', OWNERS, field)
else
  -- Begun by another meanwhile.
  for _, field in ipairs(redis.call('hkeys', OWNERS)) do
    if string.sub(field, 1, #id + 1) == id .. '@' then return 0 end
  end
end
local stored = redis.call('hexists', JOBS, id) == 1
if redis.call('lrem', ACTIVE, 0, id) == 0 then
  -- Redis has lost it since it was popped.
  if not raw or stored then return 0 end
  redis.call('hset', JOBS, id, raw)
  count_past(id)
elseif not stored then
  return 0
end
redis.call('srem', STALLING, id)
redis.call('rpush', WAITING, id)
return 1
`
