import { migrate, TaskMonitor } from '@holdfast/core'
import { pgBossAdapter } from '@holdfast/pg-boss'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import PgBoss from 'pg-boss'

const { DATABASE_URL, MODEL_URL, MONITOR_OPTIONS = '{}' } = process.env

const pool = new pg.Pool({ connectionString: DATABASE_URL })
pool.on('error', console.warn) // without these two, pg ends the process when the database restarts
pool.on('connect', (client) => client.on('error', console.warn))
const db = new Kysely({ dialect: new PostgresDialect({ pool }) })

const boss = new PgBoss(DATABASE_URL)
boss.on('error', console.warn)
await boss.start()
for (const queue of ['digests', 'reports']) await boss.createQueue(queue)

const adapter = pgBossAdapter({ boss, db })
const monitor = new TaskMonitor({ db, adapters: [adapter], ...JSON.parse(MONITOR_OPTIONS) })
await migrate(db)
await monitor.start() // before boss.work()

async function ask({ data, signal }) {
  // Aborts when the process may be dead to the others: the job is theirs then.
  const response = await fetch(MODEL_URL, { method: 'POST', body: data.topic, signal })
  return response.text()
}

// Track: the job is active in pg-boss while it runs. What the handler returns is its output.
await boss.work(
  'digests',
  adapter.track(([job]) => ask(job)),
)

// Hand-off: for slow, patient work, many at a time.
const writeReport = async (job) => {
  const report = await ask(job)
  await db.transaction().execute(async (trx) => {
    await sql`insert into reports (job, report) values (${job.id}, ${report})`.execute(trx)
    await job.task.complete({ trx }) // the report and the end of the job are one
  })
}
await boss.work('reports', { batchSize: 10 }, adapter.handOff(writeReport, { concurrency: 50 }))

// Takes no more jobs, waits for what is running, and hands over the rest at once.
async function stop() {
  await monitor.stop({ drain: 10_000 })
  await boss.stop()
  await db.destroy()
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, stop)
