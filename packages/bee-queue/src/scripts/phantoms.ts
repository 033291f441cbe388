import { PRELUDE } from './prelude.js'

/**
 * Removes ids that bee-queue would hand out for ever although there is no job behind them. Those that a process owns
 * are left: its task row has the job. Answers the ids removed.
 */
export const PHANTOMS = `${PRELUDE}
local removed, owned = {}, nil
for _, id in ipairs(redis.call('lrange', ACTIVE, 0, -1)) do
  if redis.call('hexists', JOBS, id) == 0 then
    if not owned then
      owned = {}
      for _, field in ipairs(redis.call('hkeys', OWNERS)) do owned[string.match(field, '^(.*)@')] = true end
    end
    if not owned[id] then
      redis.call('lrem', ACTIVE, 0, id)
      redis.call('srem', STALLING, id)
      removed[#removed + 1] = id
    end
  end
end
return removed
`
