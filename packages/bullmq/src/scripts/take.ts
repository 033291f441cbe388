import { PRELUDE } from './prelude.js'

/** What BullMQ says of a job that has lost its lock too often; no worker runs it again, the next one fails it. */
const STALLED = 'job stalled more than allowable limit'

/**
 * Makes a job active and locked by a token of ours, wherever it is, so that BullMQ's own commands can go on from there:
 * they know of pauses, priorities, parents and events, in every version. If whoever took it dies before they are
 * carried out, the lock runs out like any worker's.
 *
 * ARGV: id, timestamp, token of the run that is over, how often the job had been fetched by then, server at its begin;
 * `track`, `handOff` or `guard`; what for:
 * - `requeue`, `fail`, `retry` (a person took it out of quarantine): of a recovery,
 * - `keep`: its living process had lost the lock,
 * - `end`: it was handed off and has failed;
 * the new token, ms that this locks it, marker or '', seconds the marker is kept, the id it takes when another job has
 * its own, why it is failed or ''; then the fields and values of its hash.
 *
 * Answers `taken` or, when an earlier call of this recovery has been carried out, `done`, with the id; or why it was
 * left alone: `there`, BullMQ offers it again; `busy`, another has just fetched it, or it is not certain yet that nobody
 * runs it; `superseded`, others run it or a newer job has its id; `finished`.
 *
 * It leaves a mark in the job's hash, the new token and how often the job had been fetched by then: what the run that has
 * this token knows of fetches. So a job that was taken back by its process is known for that process's, though others had
 * fetched it in between; and a Redis that loses its last writes loses the mark only together with the taking.
 */
export const TAKE = `${PRELUDE}
local id, timestamp, token, starts, known = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local kind, purpose, new_token, lock_ms = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local marker, keep, other_id, reason = ARGV[10], tonumber(ARGV[11]), ARGV[12], ARGV[13]
local FIELDS = 14
local intact = server() == known

local then_atm, then_stc, then_mark = 0, 0, ''
for at = FIELDS, #ARGV, 2 do
  if ARGV[at] == 'atm' then then_atm = tonumber(ARGV[at + 1]) end
  if ARGV[at] == 'stc' then then_stc = tonumber(ARGV[at + 1]) end
  if ARGV[at] == 'holdfast' then then_mark = ARGV[at + 1] end
end

local function place_of(id)
  for _, list in ipairs({'active', 'wait', 'paused'}) do
    if redis.call('lpos', P .. list, id) then return list == 'active' and list or 'queued' end
  end
  for _, set in ipairs({'prioritized', 'delayed', 'waiting-children', 'completed', 'failed'}) do
    if redis.call('zscore', P .. set, id) then return (set == 'prioritized' or set == 'delayed') and 'queued' or set end
  end
  return 'nowhere'
end

local function lock(id)
  redis.call('hset', P .. id, 'holdfast', new_token .. ' ' .. starts_of(id))
  redis.call('set', P .. id .. ':lock', new_token, 'px', lock_ms)
  return {'taken', id}
end

-- For whom the job was taken last, and how often it had been fetched by then.
local function mark_of(id)
  local owner, at = string.match(redis.call('hget', P .. id, 'holdfast') or '', '^(.*) (%d+)$')
  return owner, tonumber(at or '0')
end

local function is_abandoned(id)
  local owner, at = mark_of(id)
  return not lock_of(id) and place_of(id) == 'active' and owner == new_token and at == starts_of(id)
end

-- An earlier call of this recovery took it. It still has it, or did what it took it for, or somebody has seen to it since.
if marker ~= '' then
  for _, target in ipairs({id, other_id}) do
    if redis.call('zscore', MARKERS, marker .. ' ' .. target) then
      local is_left = lock_of(target) == new_token or is_abandoned(target)
      return is_left and lock(target) or {'done', target}
    end
  end
end

local stored = redis.call('hget', P .. id, 'timestamp')
local ours = stored and tonumber(stored) == tonumber(timestamp)
local known_starts, held, place = starts_of(id), lock_of(id), place_of(id)
local lives = purpose == 'keep' or purpose == 'end'

local taker, taken_at = mark_of(id)
-- What was there when the run began is of an earlier life: a retry by a person may count fetches anew.
if redis.call('hget', P .. id, 'holdfast') == then_mark then taker = nil end
if taker == token then starts = math.max(starts, taken_at) end
-- A recovery has given it to others since: whoever asks this has stood still in between.
local was_recovered = ours and taker and string.sub(taker, 1, #'holdfast:') == 'holdfast:' and taken_at >= starts

local function count(field) return tonumber(redis.call('hget', P .. id, field) or '0') end

-- Its process wrote how it ended, and may have begun to wait for its next attempt.
local has_ended = ours and kind ~= 'guard' and count('atm') > then_atm
-- BullMQ's stalled check has found it abandoned, so that it is where it is because of this crash.
local has_stalled = ours and kind ~= 'guard' and not has_ended and count('stc') > then_stc

local function is_restorable()
  return ARGV[FIELDS] and (purpose == 'retry' or kind == 'handOff' or not intact)
end

-- Why nothing is to be done, if so.
local function settled()
  if not stored then return not is_restorable() and 'finished' or nil end
  if not ours then
    -- Of ids that BullMQ counted, those after a loss of data are other jobs; an id that was given is the same job again.
    local is_other = not intact and string.match(id, '^%d+$') and not lives
    return not (is_other and is_restorable()) and 'superseded' or nil
  end
  if lives and was_recovered then return 'superseded' end
  if held and held ~= token and held ~= new_token then
    -- A worker that has just fetched it asks the database whose it is, and puts it back.
    return (has_stalled or not intact) and purpose ~= 'retry' and 'busy' or 'superseded'
  end
  if place == 'active' then
    if purpose == 'retry' then return 'there' end
    if held or lives or known_starts <= starts then return nil end
    -- Fetched again since, by one whose own lock has run out. That one may have died before it began, so that nobody else
    -- knows of the job: the row is kept until BullMQ, too, takes it for abandoned.
    return (kind == 'guard' or has_ended) and 'there' or 'busy'
  end
  if place == 'queued' then
    if purpose == 'requeue' and has_stalled then return nil end
    if has_ended and (purpose == 'requeue' or purpose == 'fail') then return 'finished' end
    if purpose == 'requeue' or purpose == 'retry' then return 'there' end
    return purpose == 'end' and 'superseded' or nil
  end
  if place == 'waiting-children' then return 'there' end
  if place == 'completed' then
    local is_handed_off = kind == 'handOff' and known_starts <= starts and purpose ~= 'retry'
    return not is_handed_off and 'finished' or nil
  end
  if place == 'failed' then
    local is_stalled = redis.call('hget', P .. id, 'failedReason') == '${STALLED}'
    -- That end is the only one since.
    local is_next = kind == 'guard' and known_starts <= starts + 1 or kind ~= 'guard' and count('atm') <= then_atm + 1
    return not (is_stalled and is_next or purpose == 'retry') and 'finished' or nil
  end
  return nil
end

local why = settled()
if why then
  -- Its crashes are counted by us: that it lost its lock with its process is no reason to fail it.
  if why == 'there' and redis.call('hget', P .. id, 'defa') == '${STALLED}' then redis.call('hdel', P .. id, 'defa') end
  return {why, id}
end

local target = id
if stored and not ours then target = other_id end
local hash = P .. target
if ours and (place == 'completed' or place == 'failed') then
  redis.call('hdel', hash, 'returnvalue', 'finishedOn')
  if place == 'failed' then redis.call('hdel', hash, 'failedReason') end
  -- That end does not count.
  if tonumber(redis.call('hget', hash, 'atm') or '0') > 0 then redis.call('hincrby', hash, 'atm', -1) end
end
if not ours then
  for at = FIELDS, #ARGV, 2 do redis.call('hset', hash, ARGV[at], ARGV[at + 1]) end
  local dedup = redis.call('hget', hash, 'deid')
  if dedup then
    local opts = cjson.decode(redis.call('hget', hash, 'opts') or '{}')
    if not (opts['de'] and opts['de']['ttl']) then redis.call('set', P .. 'de:' .. dedup, target, 'nx') end
  end
end
redis.call('hdel', hash, 'defa')
-- A stall of a living process's is none: the next would fail the job while it runs.
if purpose == 'keep' and ours and count('stc') > then_stc then redis.call('hset', hash, 'stc', then_stc) end
-- Whichever worker gets it before we have failed it fails it for us.
if purpose == 'fail' then redis.call('hset', hash, 'defa', reason) end
if target == id then
  for _, list in ipairs({'active', 'wait', 'paused'}) do redis.call('lrem', P .. list, 0, id) end
  for _, set in ipairs({'prioritized', 'delayed', 'completed', 'failed'}) do redis.call('zrem', P .. set, id) end
end
redis.call('lpush', P .. 'active', target)
-- New ids are counted on from here, so that none meets this one.
if string.match(id, '^[1-9]%d*$') and #id <= 15 and tonumber(redis.call('get', P .. 'id') or '0') < tonumber(id) then
  redis.call('set', P .. 'id', id)
end
if marker ~= '' then
  local now = tonumber(redis.call('time')[1])
  redis.call('zremrangebyscore', MARKERS, '-inf', now)
  redis.call('zadd', MARKERS, now + keep, marker .. ' ' .. target)
end
return lock(target)
`
