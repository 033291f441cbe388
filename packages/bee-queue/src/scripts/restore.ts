import { PRELUDE } from './prelude.js'

/**
 * Makes a job that its process left runnable again, or fails it: exactly once, whatever bee-queue holds of it.
 *
 * ARGV: id, timestamp, token of its process, marker, seconds the marker is kept, server at its begin, why it was left
 * (`crash`, `given-back`, `retry`), '1' when it was handed off, the id it takes when another job has its own, its text;
 * then, to fail it instead, its text as a failed job or '', the event or '', its channel, '1' where failures are removed.
 *
 * Answers `requeued` or `failed` with the id; or why nothing was done: `alive`, its process still beats; `superseded`,
 * others have begun it; `there`, it is queued already; `finished`.
 */
export const RESTORE = `${PRELUDE}
local id, timestamp, token, marker, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local known, why, handed_off, other_id, raw = ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9], ARGV[10]
local failed, event, channel, remove = ARGV[11], ARGV[12], ARGV[13], ARGV[14] == '1'
local field = id .. '@' .. timestamp

-- What an earlier call of this recovery did.
for outcome, target in pairs({requeued = id, moved = other_id, failed = id}) do
  if redis.call('zscore', MARKERS, outcome .. ' ' .. marker) then
    return {outcome == 'moved' and 'requeued' or outcome, target}
  end
end

local owner = redis.call('hget', OWNERS, field)
local held = owner == token
if owner and not held then return {'superseded'} end
if held and why == 'crash' then
  local key = ALIVE .. process_of(token)
  local lease, kept = string.match(redis.call('get', key) or '', '^(%d+):(%d+)$')
  if lease and tonumber(kept) - redis.call('pttl', key) < tonumber(lease) then return {'alive'} end
end

local stored = redis.call('hget', JOBS, id)
local ours = stored and same(stored, timestamp)
local intact = server() == known
local queued = listed(WAITING, id) or redis.call('zscore', DELAYED, id)
local active = listed(ACTIVE, id)

-- Why nothing is to be done, if so.
local function settled()
  if why == 'retry' then return ours and (queued or active) and 'there' or nil end
  if stored and not ours then return intact and 'superseded' or nil end
  if ours then
    if redis.call('sismember', FAILED, id) == 1 then return 'finished' end
    local ended = redis.call('sismember', SUCCEEDED, id) == 1
    if ended and not (handed_off and (held or not intact)) then return 'finished' end
    if not held and queued then return 'there' end
    if not held and intact then return active and 'there' or 'finished' end
    return nil
  end
  -- Its data is gone. With Redis intact it was removed, unless bee-queue still has its id or it was handed off.
  if intact and not (held and (handed_off or queued or active)) then return 'finished' end
  return nil
end

local reason = settled()
if held then redis.call('hdel', OWNERS, field) end
if reason then return {reason} end

local outcome, target = 'requeued', id
if stored and not ours then
  outcome, target = 'moved', other_id
else
  redis.call('lrem', ACTIVE, 0, id)
  redis.call('lrem', WAITING, 0, id)
  redis.call('zrem', DELAYED, id)
  for _, set in ipairs({STALLING, SUCCEEDED, FAILED}) do redis.call('srem', set, id) end
end
if failed ~= '' then
  outcome = 'failed'
  if target == id and remove then
    redis.call('hdel', JOBS, id)
  elseif target == id then
    redis.call('hset', JOBS, id, failed)
    redis.call('sadd', FAILED, id)
  end
  if target == id and event ~= '' then redis.call('publish', channel, event) end
else
  -- A job that is stored as it was stays so to the byte.
  if not ours or handed_off or why == 'retry' then redis.call('hset', JOBS, target, raw) end
  redis.call('lpush', WAITING, target)
end
count_past(id)
local now = tonumber(redis.call('time')[1])
redis.call('zremrangebyscore', MARKERS, '-inf', now)
redis.call('zadd', MARKERS, now + keep, outcome .. ' ' .. marker)
return {outcome == 'moved' and 'requeued' or outcome, target}
`
