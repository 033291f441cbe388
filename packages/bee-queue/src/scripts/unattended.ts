import { PRELUDE } from './prelude.js'

/** How many delayed jobs wait while no queue listens for when to activate them. */
export const UNATTENDED = `${PRELUDE}
local listeners = redis.call('pubsub', 'numsub', P .. 'earlierDelayed')[2]
return listeners == 0 and redis.call('zcard', DELAYED) or 0
`
