import { PRELUDE } from './prelude.js'

/**
 * Writes down again what Redis has lost of a job in this process's hands, so that nobody else takes it.
 *
 * ARGV: id, timestamp, token, its text, '1' when it was handed off. Answers `ours`, `theirs`, or `reused` when another
 * job has its id.
 */
export const RECLAIM = `${PRELUDE}
local id, timestamp, token, raw, handed_off = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local field = id .. '@' .. timestamp
local owner = redis.call('hget', OWNERS, field)
if owner and owner ~= token then return 'theirs' end
count_past(id)
local stored = redis.call('hget', JOBS, id)
if stored and not same(stored, timestamp) then return 'reused' end
local ended = redis.call('sismember', FAILED, id) == 1 or not handed_off and redis.call('sismember', SUCCEEDED, id) == 1
if ended then return 'theirs' end
redis.call('hset', OWNERS, field, token)
if handed_off then return 'ours' end
if not stored then redis.call('hset', JOBS, id, raw) end
redis.call('lrem', WAITING, 0, id)
redis.call('zrem', DELAYED, id)
if not listed(ACTIVE, id) then redis.call('lpush', ACTIVE, id) end
return 'ours'
`
