import { PRELUDE } from './prelude.js'

/**
 * Forgets jobs that a process owned and has no longer in its hands, as after a failover that lost their end.
 * ARGV: process, the tokens that it has still. Answers how many there were.
 */
export const FORGET = `${PRELUDE}
local still = {}
for at = 2, #ARGV do still[ARGV[at]] = true end
local owned = redis.call('hgetall', OWNERS)
local forgotten = 0
for at = 1, #owned, 2 do
  local token = owned[at + 1]
  if process_of(token) == ARGV[1] and not still[token] then
    forgotten = forgotten + redis.call('hdel', OWNERS, owned[at])
  end
end
return forgotten
`
