import { PRELUDE } from './prelude.js'

/**
 * What a process sees of a job that BullMQ gave it. ARGV: id, token of the fetch. Answers the server, its clock and the
 * job's hash as fields and values; nothing when the job is no longer this fetch's.
 */
export const BEGIN = `${PRELUDE}
if lock_of(ARGV[1]) ~= ARGV[2] then return {} end
return {server(), now(), redis.call('hgetall', P .. ARGV[1])}
`
