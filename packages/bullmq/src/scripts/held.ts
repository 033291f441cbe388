import { PRELUDE } from './prelude.js'

/**
 * The jobs that a worker has locked: its tokens are `<worker>:<n>`. ARGV: worker. Answers server, and for each job id,
 * timestamp, token, and how often it was fetched.
 */
export const HELD = `${PRELUDE}
local held = {}
for _, id in ipairs(redis.call('lrange', P .. 'active', 0, -1)) do
  local lock = lock_of(id)
  if lock and string.sub(lock, 1, #ARGV[1] + 1) == ARGV[1] .. ':' then
    held[#held + 1] = {id, redis.call('hget', P .. id, 'timestamp') or '0', lock, tostring(starts_of(id))}
  end
end
return {server(), held}
`
