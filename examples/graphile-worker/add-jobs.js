// Adds ten jobs of each kind.
import { makeWorkerUtils } from 'graphile-worker'

const utils = await makeWorkerUtils({ connectionString: process.env.DATABASE_URL })
await utils.migrate()
for (let n = 1; n <= 10; n++) {
  await utils.addJob('send_email', { to: `user${n}@example.org` })
  await utils.addJob('ask_model', { prompt: `question ${n}` })
}
await utils.release()
console.log('added 20 jobs')
