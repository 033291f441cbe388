import { PRELUDE } from './prelude.js'

/**
 * Makes a process the owner of a job that bee-queue gave it.
 *
 * ARGV: id, timestamp, token, its process, token of an owner that may be replaced or '', ms that the process is
 * believed alive, ms that this is kept. Answers `ours` with the server, its clock and the stored text; with the owner: `theirs`,
 * `mine`, or `abandoned` by a process that has not been heard of for so long; `gone`, when the job was taken back
 * meanwhile.
 */
export const BEGIN = `${PRELUDE}
local id, timestamp, token, me, stale = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local field = id .. '@' .. timestamp
local owner = redis.call('hget', OWNERS, field)
if owner and owner ~= token and owner ~= stale then
  local process = process_of(owner)
  if process == me then return {'mine', owner} end
  return {redis.call('exists', ALIVE .. process) == 1 and 'theirs' or 'abandoned', owner}
end
local raw = redis.call('hget', JOBS, id)
if raw and not listed(ACTIVE, id) and same(raw, timestamp) then return {'gone'} end
redis.call('hset', OWNERS, field, token)
-- Whoever owns a job is known to be alive, also before its first heartbeat.
redis.call('set', ALIVE .. me, ARGV[6] .. ':' .. ARGV[7], 'px', ARGV[7])
return {'ours', server(), now(), raw}
`
