import { migrate, TaskMonitor } from '@holdfast/core'
import { graphileWorkerAdapter } from '@holdfast/graphile-worker'
import { run } from 'graphile-worker'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { askModel, summarize } from './tasks.js'

const { DATABASE_URL, MONITOR_OPTIONS = '{}' } = process.env

const pool = new pg.Pool({ connectionString: DATABASE_URL })
pool.on('error', console.warn) // without these two, pg ends the process when the database restarts
pool.on('connect', (client) => client.on('error', console.warn))
const db = new Kysely({ dialect: new PostgresDialect({ pool }) })

const adapter = graphileWorkerAdapter()
const monitor = new TaskMonitor({ db, adapters: [adapter], ...JSON.parse(MONITOR_OPTIONS) })
await migrate(db)
await monitor.start()

const runner = await run({
  connectionString: DATABASE_URL,
  concurrency: 10,
  noHandleSignals: true, // ours are below
  preset: { plugins: [adapter.plugin] }, // guard: the jobs of a killed worker run again in seconds
  taskList: {
    summarize,
    ask_model: adapter.handOff(askModel(db), { concurrency: 100 }), // hand-off: for slow, patient work
  },
})
// Stops the runner too, waits for what is running, and hands over the rest at once.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => monitor.stop({ drain: 10_000 }))
await runner.promise.finally(() => monitor.stop())
await db.destroy()
