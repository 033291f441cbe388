// A minute of random harm to the workers and to Postgres, under load, and what became of every job: see README.md.
import { setTimeout as delay } from 'node:timers/promises'
import { note, random, readLedger, runChaos, start, startServer, tellFaults } from '@holdfast/chaos/harm'
import { runMigrations } from 'graphile-worker'
import { sql } from 'kysely'
import { Orders, over } from './chaos/orders.js'
import { startPostgres } from './chaos/postgres.js'
import { beat } from './chaos/pulse.js'
import { judge, summary } from './chaos/verdict.js'
import { createTables } from './jobs.js'

const file = (name) => new URL(name, import.meta.url)

await runChaos(async ({ monitor, log, atEnd }) => {
  const postgres = await startPostgres(log)
  atEnd(postgres.stop)
  const { db, url, server } = postgres
  const select = async (query) => (await query.execute(db)).rows
  const selectIds = async (query) => (await select(query)).map(({ id }) => id)
  await runMigrations({ connectionString: url })
  await createTables(db)
  const model = await startServer(file('../model.js'), { LATENCY: '1200' })
  const env = { DATABASE_URL: url, MODEL_URL: model.url, MONITOR_OPTIONS: JSON.stringify(monitor) }
  const orders = new Orders(db)
  note('began', { monitor })
  const end = new AbortController()
  const beating = beat(db, monitor, end.signal)

  /** For less than a lease, or for longer. */
  async function outage() {
    const time = random(0, 2 * monitor.orphanThreshold)
    log(`Postgres is stopped, for ${(time / 1_000).toFixed(1)} s`)
    note('outage')
    await server.stop('immediate')
    await delay(time)
    await server.start()
    note('outageOver')
    log('Postgres is back')
  }
  return {
    startWorker: () => start(file('worker.js'), env, [file('chaos/witness.js')]),
    width: 60,
    answer: (order) => orders.answer(order),
    harmToAll: server === undefined ? {} : { outage },
    /** graphile-worker waits ever longer before it tries a job again. */
    async hurry() {
      await select(sql`
        select graphile_worker.reschedule_jobs(array_agg(id), run_at => now())
        from graphile_worker.jobs where run_at > now()`)
    },
    async idle() {
      const inFlight = await select(sql`
        select from graphile_worker.jobs union all select from holdfast_tasks where job_ref is not null`)
      return inFlight.length === 0
    },
    async judge() {
      end.abort()
      await beating
      await model.stop()
      note('judged', {
        over: [...(await over(db, await selectIds(sql`select id from requests`)))],
        answeredTwice: await selectIds(sql`select id from answers group by id having count(*) > 1`),
        quarantined: await selectIds(sql`
          select key as id from graphile_worker.jobs where id::text in (select job_ref from holdfast_quarantine)`),
        stuck: await selectIds(sql`select job_ref as id from holdfast_tasks where job_ref is not null`),
      })
      const recoveries = await select(sql`select from holdfast_recoveries where outcome = 'requeued'`)
      const entries = readLedger()
      tellFaults({ entries, faults: judge(entries), toAll: ['outage', 'outageOver'], log })
      return summary(entries, recoveries.length)
    },
  }
})
