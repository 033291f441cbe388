import { randomBytes } from 'node:crypto'
import { freshDatabase, type TestDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  aesGcmCodec,
  type DecidedJob,
  type JobOutcome,
  type QueueAdapter,
  type TaskMonitor,
} from '../src/index.js'
import { calls, createElsewhere, elsewhereAdapter, type Point, queuedRefs } from './support/elsewhere.js'
import { Fixture, refs } from './support/fixture.js'
import { Gate } from './support/gate.js'
import { addProcess, addTask } from './support/rows.js'
import { listedIn } from './support/steps.js'
import { enqueuedRefs, tableQueueAdapter, taskRows } from './support/table-queue.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

const rowsGone = () => until(async () => (await taskRows(fixture.db)).length === 0, { what: 'rows end' })

const quarantinedRows = async () =>
  (
    await sql<{
      id: string
      job_ref: string
      payload: string
      reason: string
      last_error: string
      crashes: number
    }>`
      select id, job_ref, payload, reason, last_error, crashes from holdfast_quarantine order by job_ref`.execute(
      fixture.db,
    )
  ).rows

/** Puts a job where it stands after its fourth crash. */
const quarantined = (id: string, { queue = 'table', second = 9, payload = `{"of":"${id}"}` } = {}) =>
  sql`insert into holdfast_quarantine
      (id, task_id, process_id, queue, job_ref, payload, reason, last_error, crashes, quarantined_at)
    values (${id}, ${`h:1:x/t-${id}`}, 'h:1:x', ${queue}, ${`job-${id}`}, ${payload}, 'too many', 'it died', 4,
      ${`2026-01-01 00:00:0${second}`})`.execute(fixture.db)

describe('the quarantine', () => {
  it('is listed the latest first, page by page, for all queues or one', async () => {
    const monitor = fixture.monitor()
    for (const [n, id] of ['a', 'b', 'c', 'd', 'e'].entries()) {
      await quarantined(id, { second: 9 - (n >> 1), queue: n % 2 ? 'other' : 'table' })
    }
    const pages: string[][] = []
    for (let after: string | undefined; ; ) {
      const page = await monitor.quarantine.list({ limit: 2, ...(after === undefined ? {} : { after }) })
      if (page.length === 0) break
      pages.push(page.map(({ id }) => id))
      after = page.at(-1)!.id
    }
    // Two of one moment are in the order of their ids.
    expect(pages).toEqual([['a', 'b'], ['c', 'd'], ['e']])
    expect((await monitor.quarantine.list({ queue: 'other' })).map(({ id }) => id)).toEqual(['b', 'd'])
    expect((await monitor.quarantine.list({ limit: 1 }))[0]).toEqual({
      ...{ id: 'a', taskId: 'h:1:x/t-a', queue: 'table', jobRef: 'job-a', fromProcess: 'h:1:x' },
      ...{ reason: 'too many', lastError: 'it died', crashes: 4, quarantinedMsAgo: expect.any(Number) },
    })
    for (const limit of [0, 1.5, 10_001, Number.NaN]) {
      await expect(monitor.quarantine.list({ limit })).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    }
  })

  it('says so when the place where a page goes on is gone, rather than that nothing is left', async () => {
    const monitor = fixture.monitor()
    await quarantined('a')
    await quarantined('b', { second: 8 })
    await monitor.quarantine.discard('a')
    await expect(monitor.quarantine.list({ after: 'a' })).rejects.toMatchObject({
      code: 'HOLDFAST_NOT_QUARANTINED',
    })
  })

  it('answers one entry with its payload, also when that can’t be read', async () => {
    const monitor = fixture.monitor()
    await quarantined('a')
    await quarantined('b', { payload: '{broken' })
    expect(await monitor.quarantine.get('a')).toMatchObject({
      id: 'a',
      payload: { of: 'a' },
      stored: '{"of":"a"}',
    })
    expect(await monitor.quarantine.get('b')).toMatchObject({
      payload: undefined,
      payloadError: 'The stored payload is not JSON: "{broken"',
      stored: '{broken',
    })
    expect(await monitor.quarantine.get('c')).toBeUndefined()
  })

  it('forgets what is discarded, once', async () => {
    const monitor = fixture.monitor()
    await quarantined('a')
    await quarantined('b')
    await monitor.quarantine.discard('a')
    expect((await quarantinedRows()).map(({ id }) => id)).toEqual(['b'])
    await expect(monitor.quarantine.discard('a')).rejects.toMatchObject({ code: 'HOLDFAST_NOT_QUARANTINED' })
    expect(await enqueuedRefs(fixture.db)).toEqual([])
  })

  it('never holds an entry without a reason and a last error, even where an error says nothing', async () => {
    await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
    for (const jobRef of ['unreadable', 'unwanted', 'exhausted']) {
      await addTask(fixture.db, 'h:1:dead', jobRef, { jobRef })
    }
    const silent = new Error('')
    await fixture.started({
      adapters: [
        {
          ...tableQueueAdapter(),
          recover: async (jobs) =>
            jobs.map(({ jobRef }) =>
              jobRef === 'exhausted'
                ? { kind: 'exhausted', reason: 'no attempts left' }
                : { kind: 'quarantined' },
            ),
        },
      ],
      codec: {
        encode: (text) => text,
        decode: (text) => {
          if (text === '"unreadable"') throw silent
          return text
        },
      },
    })
    await rowsGone()
    expect(await quarantinedRows()).toEqual(
      [
        ['exhausted', 'no attempts left', 'the process died with it in flight: h:1:dead'],
        ['unreadable', 'Error', 'Error'],
        ['unwanted', 'quarantined by its adapter', 'the process died with it in flight: h:1:dead'],
      ].map(([job_ref, reason, last_error]) => expect.objectContaining({ job_ref, reason, last_error })),
    )
  })

  it('knows a job by the identity that it stands failed under in its queue, with its crashes', async () => {
    await addProcess(fixture.db, 'h:1:dead', { state: 'dead' })
    for (const jobRef of ['a', 'b']) await addTask(fixture.db, 'h:1:dead', jobRef, { jobRef })
    const recover = async (jobs: readonly DecidedJob[]) =>
      jobs.map(
        ({ jobRef }): JobOutcome =>
          jobRef === 'a'
            ? { kind: 'exhausted', reason: 'no attempts left', jobRef: 'a again' }
            : { kind: 'quarantined', jobRef: 'b again' },
      )
    await fixture.started({ adapters: [{ ...tableQueueAdapter(), recover }] })
    await rowsGone()
    expect((await quarantinedRows()).map(({ job_ref }) => job_ref)).toEqual(['a again', 'b again'])
    const { rows } = await sql`select job_ref, count from holdfast_crashes order by job_ref`.execute(
      fixture.db,
    )
    expect(rows).toEqual([
      { job_ref: 'a again', count: 1 },
      { job_ref: 'b again', count: 1 },
    ])
  })
})

describe('a retry from quarantine', () => {
  const history = () => sql`select outcome, cause, crashes from holdfast_recoveries`.execute(fixture.db)

  it('makes the job runnable with the payload it had, and takes it out, in one transaction', async () => {
    const monitor = fixture.monitor()
    const events: unknown[] = []
    monitor.on('recovered', (event) => events.push(event))
    await quarantined('a')
    expect(await monitor.quarantine.retry('a')).toEqual({ kind: 'requeued', jobRef: 'job-a' })
    expect((await sql`select ref, body from jobs`.execute(fixture.db)).rows).toEqual([
      { ref: 'job-a', body: '{"of":"a"}' },
    ])
    expect(await quarantinedRows()).toEqual([])
    expect((await history()).rows).toEqual([{ outcome: 'requeued', cause: 'retry', crashes: 4 }])
    expect(events).toEqual([expect.objectContaining({ taskId: 'h:1:x/t-a', cause: 'retry', crashes: 4 })])
  })

  it('leaves all as it was when the queue refuses the job', async () => {
    const failing = new Set(['job-a'])
    const monitor = fixture.monitor({ adapters: [tableQueueAdapter({ failing })] })
    await quarantined('a')
    await expect(monitor.quarantine.retry('a')).rejects.toThrow('the queue refuses job-a')
    for (const [outcome, why] of [
      [{ kind: 'failed', error: new Error('not now') }, 'not now'],
      [{ kind: 'exhausted', reason: 'no attempts left' }, 'no attempts left'],
      [{ kind: 'quarantined' }, 'quarantined it again'],
      [{ kind: 'nonsense' }, 'kind is none'],
    ] as const) {
      const adapter = { ...tableQueueAdapter(), recover: async () => [outcome as never] }
      const refusing = fixture.monitor({ adapters: [adapter] })
      await expect(refusing.quarantine.retry('a')).rejects.toMatchObject({
        code: 'HOLDFAST_ADAPTER',
        message: expect.stringContaining(why),
      })
    }
    expect(await quarantinedRows()).toHaveLength(1)
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    expect((await history()).rows).toEqual([])
  })

  it('keeps the count: the next crash brings the job straight back', async () => {
    const monitor = await fixture.started({ maxRecoveries: 0 })
    const crash = async () => {
      const { child } = await fixture.holder({ refs: ['killer'] })
      await child.kill()
      await until(async () => (await quarantinedRows()).length === 1)
    }
    await crash()
    await monitor.quarantine.retry((await quarantinedRows())[0]!.id)
    await crash()
    expect(await quarantinedRows()).toEqual([
      expect.objectContaining({ job_ref: 'killer', crashes: 2, payload: '{"jobRef":"killer"}' }),
    ])
    expect(await enqueuedRefs(fixture.db)).toEqual(['killer'])
  })

  it('keeps the count under the new identity that a queue gives the job', async () => {
    await quarantined('a')
    const adapter = {
      ...tableQueueAdapter(),
      recover: async () => [{ kind: 'requeued', jobRef: 'new' } as const],
    }
    await fixture.monitor({ adapters: [adapter] }).quarantine.retry('a')
    const { rows } = await sql`select job_ref, count from holdfast_crashes`.execute(fixture.db)
    expect(rows).toEqual([{ job_ref: 'new', count: 4 }])
  })

  it('is refused for what is not there, and for a queue nobody here knows', async () => {
    const monitor = fixture.monitor()
    await quarantined('a', { queue: 'unknown' })
    await expect(monitor.quarantine.retry('b')).rejects.toMatchObject({ code: 'HOLDFAST_NOT_QUARANTINED' })
    await expect(monitor.quarantine.retry('a')).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    expect(await quarantinedRows()).toHaveLength(1)
  })

  /** Ten retries at once, by two monitors. */
  const race = async (monitors: readonly TaskMonitor[]): Promise<string[]> => {
    const retries = refs(10).map((_, n) => monitors[n % 2]!.quarantine.retry('a'))
    const settled = await Promise.allSettled(retries)
    return settled.map((r) => (r.status === 'fulfilled' ? r.value.kind : (r.reason.code as string))).sort()
  }

  it('raced by others makes the job runnable once', async () => {
    await quarantined('a')
    expect(await race([fixture.monitor(), fixture.monitor()])).toEqual([
      ...Array(9).fill('HOLDFAST_NOT_QUARANTINED'),
      'requeued',
    ])
    expect(await enqueuedRefs(fixture.db)).toEqual(['job-a'])
  })

  it('raced by others for a queue elsewhere makes the job runnable once, and gives up on a queue that hangs', async () => {
    await using queue = await freshDatabase()
    await createElsewhere(queue.db)
    await quarantined('a', { queue: 'elsewhere' })
    const hanging = fixture.monitor({
      adapters: [elsewhereAdapter(queue.db, { at: () => new Promise(() => undefined) })],
      gcLockTtl: 500,
    })
    await expect(hanging.quarantine.retry('a')).rejects.toMatchObject({ code: 'HOLDFAST_ADAPTER_TIMEOUT' })
    expect(await quarantinedRows()).toHaveLength(1)

    // The queue has heard of both before either is written down.
    let told = 0
    const at = async (point: Point) => {
      if (point === 'after recover') told += 1
      if (point === 'after recover') await until(() => told === 2)
    }
    const [first, second] = [0, 1].map(() =>
      fixture.monitor({ adapters: [elsewhereAdapter(queue.db, { at })] }),
    )
    const retries = [first!.quarantine.retry('a')]
    await until(() => told === 1)
    retries.push(second!.quarantine.retry('a'))
    const settled = await Promise.allSettled(retries)
    const codes = settled.map((r) => (r.status === 'fulfilled' ? r.value.kind : (r.reason.code as string)))
    expect(codes.sort()).toEqual(['HOLDFAST_NOT_QUARANTINED', 'requeued'])
    expect((await history()).rows).toHaveLength(1)
    expect(await queuedRefs(queue.db)).toEqual(['job-a'])
    expect((await calls(queue.db)).map((call) => call.recovery_id)).toEqual(['retry:a', 'retry:a'])
  })
})

describe('a retry in a queue elsewhere that gives the job a new identity', () => {
  let queue: TestDatabase
  beforeEach(async () => {
    queue = await freshDatabase()
    await createElsewhere(queue.db)
    await quarantined('a', { queue: 'elsewhere' })
  })
  afterEach(() => queue[Symbol.asyncDispose]())

  const renaming = (at?: (point: Point) => void | Promise<void>): QueueAdapter =>
    elsewhereAdapter(queue.db, { renames: true, ...(at === undefined ? {} : { at }) })

  const listed = (adapter: QueueAdapter) => listedIn(fixture, { adapters: [adapter], maxRecoveries: 10 })

  const crashesOf = async (jobRef: string): Promise<number | undefined> => {
    const { rows } = await sql<{ count: number }>`
      select count from holdfast_crashes where queue = 'elsewhere' and job_ref = ${jobRef}`.execute(
      fixture.db,
    )
    return rows[0]?.count
  }

  it('has it written down before the job can run, with its crashes', async () => {
    const seen: unknown[] = []
    const monitor = await listed(
      renaming(async (point) => {
        if (point !== 'after rename') return
        const [{ job_ref } = { job_ref: '' }] = await quarantinedRows()
        seen.push(await queuedRefs(queue.db), job_ref, await crashesOf(job_ref))
      }),
    )
    const outcome = await monitor.quarantine.retry('a')
    const [ref] = await queuedRefs(queue.db)
    expect(outcome).toEqual({ kind: 'requeued', jobRef: ref })
    expect(seen).toEqual([[], ref, 4])
    expect(await quarantinedRows()).toEqual([])
    expect(await crashesOf(ref!)).toBe(4)
  })

  it('makes it runnable once, also when the answer was lost and it is retried again', async () => {
    let lost = false
    const monitor = await listed(
      renaming((point) => {
        if (point !== 'after recover' || lost) return
        lost = true
        throw new Error('the answer was lost')
      }),
    )
    await expect(monitor.quarantine.retry('a')).rejects.toThrow('the answer was lost')
    const runnable = await queuedRefs(queue.db)
    expect((await quarantinedRows()).map(({ job_ref }) => job_ref)).toEqual(runnable)
    expect(await monitor.quarantine.retry('a')).toEqual({ kind: 'alreadyThere' })
    expect(await queuedRefs(queue.db)).toEqual(runnable)
    expect(await quarantinedRows()).toEqual([])
  })

  it('raced by another makes it runnable once', async () => {
    const gate = new Gate()
    let came = 0
    // Both have looked, and neither has found that the other is at it.
    const at = async (point: Point) => {
      if (point === 'before recover' && ++came === 2) gate.open()
      if (point === 'before recover') await gate.reached()
    }
    const both = [await listed(renaming(at)), await listed(renaming(at))]
    const settled = await Promise.allSettled(both.map(({ quarantine }) => quarantine.retry('a')))
    const codes = settled.map((r) => (r.status === 'fulfilled' ? r.value.kind : (r.reason.code as string)))
    expect(codes).toContain('requeued')
    expect(codes.filter((code) => code !== 'requeued')).toEqual([
      expect.stringMatching(/^HOLDFAST_(ADAPTER|NOT_QUARANTINED)$/),
    ])
    expect(await queuedRefs(queue.db)).toHaveLength(1)
    expect(await quarantinedRows()).toEqual([])
  })

  it('is undone when the entry is discarded meanwhile', async () => {
    const monitor = await listed(
      renaming(async (point) => {
        if (point === 'before recover') await sql`delete from holdfast_quarantine`.execute(fixture.db)
      }),
    )
    await expect(monitor.quarantine.retry('a')).rejects.toMatchObject({ code: 'HOLDFAST_ADAPTER' })
    expect(await queuedRefs(queue.db)).toEqual([])
  })

  it('keeps the count of a crash that the job has had again before that was written down', async () => {
    const monitor = await listed(
      renaming(async (point) => {
        if (point !== 'after recover') return
        const worker = await listed(renaming())
        const [ref] = await queuedRefs(queue.db)
        await worker.register({ payload: null, jobRef: ref! })
        await sql`delete from queued`.execute(queue.db)
        await sql`update holdfast_processes set state = 'dead' where process_id = ${worker.processId}`.execute(
          fixture.db,
        )
        const sweeper = await listed(elsewhereAdapter(queue.db))
        expect(await sweeper.cleanupOrphanedTasks()).toMatchObject({ recovered: 1 })
      }),
    )
    const outcome = await monitor.quarantine.retry('a')
    expect(outcome).toEqual({ kind: 'requeued', jobRef: (await queuedRefs(queue.db))[0] })
    expect(await crashesOf((await queuedRefs(queue.db))[0]!)).toBe(5)
  })
})

describe('encrypted payloads', () => {
  const key = (id: string) => ({ id, key: randomBytes(32) })
  const oldKey = key('old')
  const newKey = key('new')
  const SECRET = 'the secret of the payload'

  /** Leaves a job in flight in a process that is dead. */
  async function orphan(jobRef: string, codec?: ReturnType<typeof aesGcmCodec>): Promise<string> {
    const monitor = await fixture.started(codec === undefined ? {} : { codec })
    const task = await monitor.register({ payload: { SECRET }, jobRef })
    const { rows } = await sql<{ payload: string }>`
      select payload from holdfast_tasks where job_ref = ${jobRef}`.execute(fixture.db)
    await sql`update holdfast_tasks set process_id = 'h:1:gone' where id = ${task.id}`.execute(fixture.db)
    await monitor.stop({ drain: 0 })
    return rows[0]!.payload
  }

  const bodies = async () =>
    (await sql<{ ref: string; body: string }>`select ref, body from jobs order by ref`.execute(fixture.db))
      .rows

  const body = JSON.stringify({ SECRET })

  it('can’t be read in the database, and come back decoded; those from before encryption too', async () => {
    const stored = await orphan('sealed', aesGcmCodec({ keys: [oldKey] }))
    expect(stored).toMatch(/^hf1:old:/)
    expect(stored).not.toContain('secret')
    expect(Buffer.from(stored.split(':')[2]!, 'base64url').toString()).not.toContain('secret')
    expect(await orphan('plain')).toBe(body)
    await fixture.started({ codec: aesGcmCodec({ keys: [oldKey] }) })
    await rowsGone()
    expect(await bodies()).toEqual([
      { ref: 'plain', body },
      { ref: 'sealed', body },
    ])
  })

  it('are written under the first key, and read under any', async () => {
    const before = await orphan('before', aesGcmCodec({ keys: [oldKey] }))
    const after = await orphan('after', aesGcmCodec({ keys: [newKey, oldKey] }))
    expect([before, after].map((stored) => stored.split(':')[1])).toEqual(['old', 'new'])
    await fixture.started({ codec: aesGcmCodec({ keys: [newKey, oldKey] }) })
    await rowsGone()
    expect(await bodies()).toEqual([
      { ref: 'after', body },
      { ref: 'before', body },
    ])
  })

  it('under a key nobody here has go to quarantine as they are, and are retried once the key is there', async () => {
    const stored = await orphan('sealed', aesGcmCodec({ keys: [oldKey] }))
    const without = await fixture.started({ codec: aesGcmCodec({ keys: [newKey] }) })
    await rowsGone()
    const [entry] = await quarantinedRows()
    expect(entry).toMatchObject({ job_ref: 'sealed', payload: stored })
    expect(entry!.reason).toContain('encrypted with key "old"')
    expect(entry!.last_error).toContain('HOLDFAST_PAYLOAD: ')
    expect(await without.quarantine.get(entry!.id)).toMatchObject({
      payload: undefined,
      payloadError: expect.stringContaining('encrypted with key "old"'),
      stored,
    })
    await expect(without.quarantine.retry(entry!.id)).rejects.toMatchObject({ code: 'HOLDFAST_PAYLOAD' })
    expect(await quarantinedRows()).toHaveLength(1)

    const withKey = fixture.monitor({ codec: aesGcmCodec({ keys: [newKey, oldKey] }) })
    expect((await withKey.quarantine.get(entry!.id))?.payload).toEqual({ SECRET })
    await withKey.quarantine.retry(entry!.id)
    expect(await bodies()).toEqual([{ ref: 'sealed', body }])
    expect(await quarantinedRows()).toEqual([])
  })

  it('that a release brings are encrypted too', async () => {
    const codec = aesGcmCodec({ keys: [oldKey] })
    const failing = new Set(['a'])
    const monitor = await fixture.started({ codec, adapters: [tableQueueAdapter({ failing })] })
    const task = await monitor.register({ payload: null, jobRef: 'a' })
    await task.release({ payload: { SECRET } })
    const { rows } = await sql<{ payload: string }>`select payload from holdfast_tasks`.execute(fixture.db)
    expect(rows).toEqual([{ payload: expect.stringMatching(/^hf1:old:/) }])
    failing.clear()
    await rowsGone()
    expect(await bodies()).toEqual([{ ref: 'a', body }])
  })
})
