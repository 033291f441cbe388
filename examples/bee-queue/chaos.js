// A minute of random harm to the workers and to Redis, under load, and what became of every job: see README.md.
import { note, readLedger, runChaos, start, startServer, tellFaults } from '@holdfast/chaos/harm'
import { sql } from 'kysely'
import { orderReport } from './chaos/order-report.js'
import { startServers } from './chaos/servers.js'
import { judge, summary } from './chaos/verdict.js'

const file = (name) => new URL(name, import.meta.url)

await runChaos(async ({ monitor, log, atEnd }) => {
  const servers = await startServers(log)
  atEnd(servers.stop)
  const { db, url } = servers.database
  const model = await startServer(file('../model.js'), { LATENCY: '1200' })
  const env = {
    DATABASE_URL: url,
    REDIS_URL: servers.redisUrl,
    MODEL_URL: model.url,
    MONITOR_OPTIONS: JSON.stringify(monitor),
    ANSWER_WITHIN: '3000',
  }
  const api = await startServer(file('api.js'), env)

  async function wipe() {
    log('Redis is wiped')
    note('wiping')
    const succeeded = await servers.wipe()
    note('wiped', { succeeded })
    log('Redis is back, empty')
  }
  return {
    startWorker: () => start(file('worker.js'), env),
    width: 40,
    answer: (order) => orderReport(api.url, order),
    harmToAll: { wipe },
    async idle() {
      const { waiting, active, delayed } = await servers.queue.checkHealth()
      const { rows } = await sql`select id from holdfast_tasks`.execute(db)
      return waiting + active + delayed + rows.length === 0
    },
    async judge() {
      await api.stop()
      await model.stop()
      note('ended', { succeeded: await servers.succeeded() })
      const recoveries = await sql`select id from holdfast_recoveries where outcome = 'requeued'`.execute(db)
      const entries = readLedger()
      tellFaults({ entries, faults: judge(entries), toAll: ['wiping', 'wiped'], log })
      return summary(entries, recoveries.rows.length)
    },
  }
})
