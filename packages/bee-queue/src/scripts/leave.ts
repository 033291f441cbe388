import { PRELUDE } from './prelude.js'

/** Gives up a job that is another's, and leaves it where it is. ARGV: id, timestamp, token. */
export const LEAVE = `${PRELUDE}
local field = ARGV[1] .. '@' .. ARGV[2]
if redis.call('hget', OWNERS, field) == ARGV[3] then return redis.call('hdel', OWNERS, field) end
return 0
`
