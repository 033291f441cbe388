import { bullmqAdapter } from '@holdfast/bullmq'
import { migrate, TaskMonitor } from '@holdfast/core'
import { Queue, Worker } from 'bullmq'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'

const { DATABASE_URL, REDIS_URL, MODEL_URL, MONITOR_OPTIONS = '{}' } = process.env

const pool = new pg.Pool({ connectionString: DATABASE_URL })
pool.on('error', console.warn) // without these two, pg ends the process when the database restarts
pool.on('connect', (client) => client.on('error', console.warn))
const db = new Kysely({ dialect: new PostgresDialect({ pool }) })

const connection = { url: REDIS_URL }
const queue = new Queue('reports', { connection })
queue.on('error', console.warn)

const adapter = bullmqAdapter({ queues: [queue] })
const monitor = new TaskMonitor({ db, adapters: [adapter], ...JSON.parse(MONITOR_OPTIONS) })
await migrate(db)
await sql`create table if not exists reports (id text primary key, report text not null)`.execute(db)
await monitor.start()

async function writeReport(job, _token, signal) {
  // Aborts when the process may be dead to the others: the job is theirs then, and the report isn't written here.
  const response = await fetch(MODEL_URL, { method: 'POST', body: job.data.topic, signal })
  const report = await response.text()
  // Twice is as good as once.
  await sql`insert into reports values (${job.id}, ${report}) on conflict do nothing`.execute(db)
  return report
}
const worker = new Worker('reports', adapter.track(writeReport), { connection, concurrency: 10 })
worker.on('error', console.warn)
worker.on('ready', () => console.log('works on reports'))

// Takes no more jobs, waits for what is running, and hands over the rest at once.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    await monitor.stop({ drain: 10_000 })
    await worker.close() // Holdfast knows a worker from its first job on, and closes it; one that never had any is yours
    await queue.close()
    await db.destroy()
  })
}
