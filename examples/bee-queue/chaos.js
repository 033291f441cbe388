// A minute of random harm to the workers and to Redis, under load, and what became of every job: see README.md.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { Fleet } from './chaos/fleet.js'
import { doHarm } from './chaos/harm.js'
import { produce } from './chaos/produce.js'
import { Screen } from './chaos/screen.js'
import { startServers } from './chaos/servers.js'
import { startServer } from './chaos/start.js'
import { history, judge, summary } from './chaos/verdict.js'
import { note } from './ledger.js'

const WORKERS = 3
const IN_FLIGHT = 40
/** Milliseconds in which at least one job must end once nobody does harm any more. */
const PATIENCE = 30_000

/** Short times, so that a minute is enough. And as it is not the jobs that kill their workers, none becomes a suspect. */
const MONITOR = {
  heartbeatInterval: 500,
  orphanThreshold: 2_000,
  sweepInterval: 500,
  gcLockTtl: 2_000,
  recoveryBackoff: 250,
  maxRecoveries: 100,
  isolateSuspects: false,
  ...JSON.parse(process.env.MONITOR_OPTIONS ?? '{}'),
}

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, json: { type: 'boolean', default: false } },
})
const seconds = Number(values.seconds)
if (!(seconds > 0)) throw new Error(`--seconds must be a number above 0: ${values.seconds}`)

const folder = mkdtempSync(join(tmpdir(), 'holdfast-chaos-'))
process.env.LEDGER ??= join(folder, 'ledger')

const counts = { ordered: 0, answered: 0 }
const screen = new Screen(values.json ? process.stderr : process.stdout, () => {
  const { ordered, answered } = counts
  return `${ordered} requests, ${answered} answered, ${ordered - answered} in flight`
})
const log = (text) => screen.event(text)

const servers = await startServers(log)
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => servers.stop().finally(() => process.exit(130))) // the other processes go along
}
let result
try {
  const { db, url } = servers.database
  const model = await startServer('model.js', { LATENCY: '1200' })
  const env = {
    DATABASE_URL: url,
    REDIS_URL: servers.redisUrl,
    MODEL_URL: model.url,
    MONITOR_OPTIONS: JSON.stringify(MONITOR),
    ANSWER_WITHIN: '3000',
  }
  const api = await startServer('api.js', env)
  const fleet = new Fleet(WORKERS, env, log)
  log(`${WORKERS} workers, the API, and ${IN_FLIGHT} requests in flight`)

  const enough = new AbortController()
  const giveUp = new AbortController()
  const producing = produce({
    ...{ api: api.url, width: IN_FLIGHT, signal: enough.signal, giveUp: giveUp.signal },
    onOrdered: () => counts.ordered++,
    onAnswered: () => counts.answered++,
  })
  await Promise.race([producing, until(() => counts.answered > 0, { what: 'the first answer' })])
  const harming = doHarm({ fleet, servers, lease: MONITOR.orphanThreshold, signal: enough.signal, log })
  await Promise.race([delay(seconds * 1_000), producing, harming])
  enough.abort()
  await harming
  log('no more harm; waiting for what is in flight')

  for (let before = -1; before < counts.answered && counts.answered < counts.ordered; ) {
    before = counts.answered
    await Promise.race([producing, delay(PATIENCE, undefined, { ref: false })])
  }
  giveUp.abort()
  await producing
  const idle = async () => {
    const { waiting, active, delayed } = await servers.queue.checkHealth()
    const { rows } = await sql`select id from holdfast_tasks`.execute(db)
    return waiting + active + delayed + rows.length === 0
  }
  await until(idle, { timeout: PATIENCE, what: 'nothing is in flight' }).catch((error) => log(error.message))
  await fleet.stop()
  for (const { child } of [api, model]) {
    child.process.kill('SIGTERM')
    await child.exited
  }
  note('ended', { succeeded: await servers.succeeded() })
  const recoveries = await sql`select id from holdfast_recoveries where outcome = 'requeued'`.execute(db)
  const entries = readFileSync(process.env.LEDGER, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  result = summary(entries, recoveries.rows.length)
  for (const [fault, ids] of Object.entries(judge(entries))) {
    for (const id of ids.slice(0, 5)) log([`${fault}: ${id}`, ...history(entries, id)].join('\n'))
  }
} finally {
  await servers.stop()
}
const ok = result.jobs > 0 && result.lost === 0 && result.doubled === 0
if (ok) rmSync(folder, { recursive: true })
else log(`the ledger is ${process.env.LEDGER}`)
screen.close()
console.log(JSON.stringify(result))
process.exitCode = ok ? 0 : 1
