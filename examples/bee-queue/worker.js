import { beeQueueAdapter } from '@holdfast/bee-queue'
import { migrate, TaskMonitor } from '@holdfast/core'
import BeeQueue from 'bee-queue'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { note } from './ledger.js'

const { DATABASE_URL, REDIS_URL, MODEL_URL, MONITOR_OPTIONS = '{}' } = process.env

const pool = new pg.Pool({ connectionString: DATABASE_URL })
pool.on('error', console.warn) // without these two, pg ends the process when the database restarts
pool.on('connect', (client) => client.on('error', console.warn))
const db = new Kysely({ dialect: new PostgresDialect({ pool }) })

const queue = new BeeQueue('reports', { redis: { url: REDIS_URL }, activateDelayedJobs: true })
queue.on('error', console.warn)
queue.on('succeeded', (job) => note('succeeded', { job: job.id }))

const adapter = beeQueueAdapter({ queues: [queue] })
const monitor = new TaskMonitor({ db, adapters: [adapter], ...JSON.parse(MONITOR_OPTIONS) })
await migrate(db)
await queue.ready() // a bee-queue that begins without Redis never connects: end, and be started again
await monitor.start()

async function writeReport(job) {
  note('started', { job: job.id })
  // Aborts when the process may be dead to the others: the job is theirs then, and the report isn't written here.
  const response = await fetch(MODEL_URL, { method: 'POST', body: job.data.topic, signal: job.signal })
  const report = await response.text()
  // Before the job ends, so that nobody depends on hearing bee-queue's event. Twice is as good as once.
  await sql`update requests set report = ${report} where id = ${job.id}`.execute(db)
  return report
}
queue.process(10, adapter.track(writeReport))

// Takes no more jobs, waits for what is running, hands over the rest at once, and closes the queue.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => monitor.stop({ drain: 10_000 }).finally(() => db.destroy()))
}
