import { PRELUDE } from './prelude.js'

/**
 * Shows that a process lives. ARGV: process, ms it is believed alive, ms its key is kept, its id before. Answers the
 * server.
 */
export const BEAT = `${PRELUDE}
redis.call('set', ALIVE .. ARGV[1], ARGV[2] .. ':' .. ARGV[3], 'px', ARGV[3])
if ARGV[4] ~= ARGV[1] then redis.call('del', ALIVE .. ARGV[4]) end
return server()
`
