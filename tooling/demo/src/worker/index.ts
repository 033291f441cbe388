// A process that runs graphile-worker, with Holdfast or without: one of the three of the demo.
import { childOptions, connect } from '@holdfast/chaos'
import { applicationUrl } from './application-url.js'
import { Ledger } from './ledger.js'
import type { WorkerMessage, WorkerOptions } from './options.js'
import { withHoldfast, withoutHoldfast } from './protection.js'
import { Runners } from './runners.js'
import { slowCallTo } from './slow-call.js'

// Ctrl-C reaches the whole process group; the demo ends this process when it has no more use for it.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => process.exit())

const { worker, url, server, holdfast } = childOptions<WorkerOptions>()
const send = (message: WorkerMessage): void => void process.send?.(message)
const connectionString = applicationUrl(url, worker)
const db = connect(connectionString)
const work = { db, ledger: new Ledger(worker), call: slowCallTo(server) }
const protection = holdfast
  ? await withHoldfast(work, worker, (text) => send({ type: 'trouble', text }))
  : withoutHoldfast(work)
const runners = new Runners({ connectionString, db, worker, protection })
await runners.start()

process.on('message', async (message) => {
  if (message !== 'stop') return
  await runners.stop()
  await protection.monitor?.stop()
  await db.destroy()
  send({ type: 'stopped' })
  process.disconnect()
})
send({ type: 'ready' })
