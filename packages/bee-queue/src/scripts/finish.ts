import { PRELUDE } from './prelude.js'

/**
 * Carries out what bee-queue writes at the end of a job, if the job is still this process's.
 *
 * ARGV: id, timestamp, token, server at its begin, '1' when an earlier try may have been carried out, '1' when the job
 * stays this process's, '1' when this process is known to live; then each command as the number of its words and the
 * words. Answers `done`; `lost`, when others have the job; `reused`, when another job has its id; `doubt`, when Redis has
 * forgotten whose it is.
 */
export const FINISH = `${PRELUDE}
local id, timestamp, token = ARGV[1], ARGV[2], ARGV[3]
local field = id .. '@' .. timestamp
local owner = redis.call('hget', OWNERS, field)
if owner ~= token then
  if owner then return 'lost' end
  if server() == ARGV[4] then return ARGV[5] == '1' and not listed(ACTIVE, id) and 'done' or 'lost' end
  -- Redis has lost who owns it. If this process lives, nobody else has recovered it.
  if ARGV[7] ~= '1' then return 'doubt' end
  local raw = redis.call('hget', JOBS, id)
  if raw and not same(raw, timestamp) then return 'reused' end
  redis.call('lrem', WAITING, 0, id)
  redis.call('zrem', DELAYED, id)
  count_past(id)
end
local at = 8
while ARGV[at] do
  local words = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + words))
  at = at + words + 1
end
if ARGV[6] == '1' then redis.call('hset', OWNERS, field, token) else redis.call('hdel', OWNERS, field) end
return 'done'
`
