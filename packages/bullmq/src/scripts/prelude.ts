/**
 * What every script begins with. All keys of a queue share a prefix, `<prefix>:<queue>:`, so KEYS[1] is that.
 *
 * A job is known by its id and its timestamp, since BullMQ counts ids anew when Redis has lost its data; one run of it by
 * its lock (`<job>:lock`, the token of the fetch) and by how often the job was fetched (`ats`), which outlives the lock.
 */
export const PRELUDE = `
local P = KEYS[1]
local MARKERS, EPOCH = P .. 'holdfast:markers', P .. 'holdfast:epoch'

-- Which server this is, and which life of its data: any change means that writes may have been lost.
local function server()
  local run = string.match(redis.call('info', 'server'), 'run_id:(%x+)')
  local epoch = redis.call('get', EPOCH)
  if not epoch then
    local time = redis.call('time')
    epoch = time[1] .. '.' .. time[2]
    redis.call('set', EPOCH, epoch)
  end
  return run .. ':' .. epoch
end

-- The server's clock in microseconds.
local function now()
  local time = redis.call('time')
  return time[1] * 1000000 + time[2]
end

local function lock_of(id) return redis.call('get', P .. id .. ':lock') end

local function starts_of(id) return tonumber(redis.call('hget', P .. id, 'ats') or '0') end
`
