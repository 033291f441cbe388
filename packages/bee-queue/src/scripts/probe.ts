import { PRELUDE } from './prelude.js'

/**
 * Tries what the other scripts need, and writes nothing where the client has changed the keys. ARGV: the prefix of the
 * queue's keys. Answers the prefix that arrived.
 */
export const PROBE = `${PRELUDE}
if P ~= ARGV[1] then return P end
server()
listed(ACTIVE, '')
return P
`
