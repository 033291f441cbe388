// POST /reports {"topic": "…"} answers with the report, or after a while with 202 and the id for GET /reports/<id>.
import { randomUUID } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { migrate } from '@holdfast/core'
import BeeQueue from 'bee-queue'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { note } from './ledger.js'

const { DATABASE_URL, REDIS_URL, PORT = 3000, ANSWER_WITHIN = 30_000 } = process.env

const pool = new pg.Pool({ connectionString: DATABASE_URL })
pool.on('error', console.warn)
pool.on('connect', (client) => client.on('error', console.warn))
const db = new Kysely({ dialect: new PostgresDialect({ pool }) })
await migrate(db) // it looks for tasks in flight
await sql`create table if not exists requests (
  id text primary key,
  topic text not null,
  accepted_at timestamptz(3) not null default now(),
  report text
)`.execute(db)

const queue = new BeeQueue('reports', { redis: { url: REDIS_URL }, isWorker: false, storeJobs: false })
queue.on('error', console.warn) // without it the process ends when Redis restarts
await queue.ready()

/** Emits the id of a job that has ended, with the answer to its request. */
const ends = new EventEmitter()
queue.on('job succeeded', (id, report) => ends.emit(id, 200, { id, report }))
queue.on('job failed', (id, error) => ends.emit(id, 500, { id, error: error.message }))

async function accept(topic) {
  if (typeof topic !== 'string') return [400, { error: 'topic must be a string' }]
  // The request is accepted once it stands here, whatever becomes of Redis.
  const inserted = await sql`
    insert into requests (id, topic) values (${randomUUID()}, ${topic}) returning *`.execute(db)
  const request = /** @type {any} */ (inserted.rows[0])
  note('accepted', { job: request.id })
  // The id is ours and we listen before the job is saved, so that we can't miss its end.
  const ended = once(ends, request.id, { signal: AbortSignal.timeout(Number(ANSWER_WITHIN)) })
  const answer = ended.catch(() => look(request.id)) // Redis may have restarted just when it was to tell us
  await save(request).catch(console.warn) // `keepPosting` does it later
  return answer
}

async function look(id) {
  const { rows } = await sql`select report from requests where id = ${id}`.execute(db)
  if (rows.length === 0) return [404, { error: 'no such report' }]
  const { report } = /** @type {any} */ (rows[0])
  if (report !== null) return [200, { id, report }]
  const job = await queue.getJob(id).catch(() => null) // Redis is away
  return job?.status === 'failed' ? [500, { id, error: job.options.stacktraces[0] }] : [202, { id }]
}

/** False when bee-queue has the job already. */
async function save({ id, topic, accepted_at }) {
  const job = queue.createJob({ topic }).setId(id)
  job.options.timestamp = accepted_at.getTime() // saved again it is the same job, not a new one under its id
  await job.save()
  return job.id !== null
}

/**
 * Posts what bee-queue doesn't have though it was accepted: saving it failed, or Redis lost it before it began. What
 * has begun is left to Holdfast, whose row it has until its report is written.
 */
async function keepPosting() {
  const pending = await sql`
    select * from requests where report is null and accepted_at < now() - interval '1 s'`.execute(db)
  for (const request of /** @type {any[]} */ (pending.rows)) {
    // First Redis, then the database: a recovery puts the job into the one before it leaves the other.
    if (await queue.getJob(request.id)) continue
    const jobRef = `${queue.settings.keyPrefix}${request.id}@${request.accepted_at.getTime()}`
    const { rows } = await sql`
      select id from requests where id = ${request.id} and report is null and not exists (
        select from holdfast_tasks where queue = 'bee-queue' and job_ref = ${jobRef})`.execute(db)
    if (rows.length > 0 && (await save(request))) note('reposted', { job: request.id })
  }
}

async function answer(request) {
  const { method, url } = request
  if (method === 'POST' && url === '/reports') {
    const { topic } = /** @type {any} */ (await json(request))
    return accept(topic)
  }
  if (method === 'GET' && url.startsWith('/reports/')) return look(url.slice('/reports/'.length))
  return [404, { error: 'no such page' }]
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request).catch((error) => [500, { error: error.message }])
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
})
server.listen(Number(PORT), '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  console.log(`api on http://127.0.0.1:${port}`)
})

const closing = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => closing.abort())
while (!closing.signal.aborted) {
  await keepPosting().catch(console.warn)
  await delay(1_000, undefined, { signal: closing.signal }).catch(() => undefined)
}
await new Promise((resolve) => server.close(resolve))
await queue.close()
await db.destroy()
