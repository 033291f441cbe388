import { freshDatabase, until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DecidedJob, JobOutcome, TaskMonitor } from '../src/index.js'
import { calls, createElsewhere, elsewhereAdapter, type Point, queuedRefs } from './support/elsewhere.js'
import { Fixture, refs } from './support/fixture.js'
import { quarantine, quarantinedRows } from './support/quarantine.js'
import { addProcess, addTask } from './support/rows.js'
import { enqueuedRefs, rowsGone, tableQueueAdapter } from './support/table-queue.js'

let fixture: Fixture
beforeEach(async () => {
  fixture = await Fixture.create()
})
afterEach(() => fixture[Symbol.asyncDispose]())

describe('the quarantine', () => {
  it('is listed the latest first, page by page, for all queues or one', async () => {
    const monitor = fixture.monitor()
    for (const [n, id] of ['a', 'b', 'c', 'd', 'e'].entries()) {
      await quarantine(fixture.db, id, { second: 9 - (n >> 1), queue: n % 2 ? 'other' : 'table' })
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
    await quarantine(fixture.db, 'a')
    await quarantine(fixture.db, 'b', { second: 8 })
    await monitor.quarantine.discard('a')
    await expect(monitor.quarantine.list({ after: 'a' })).rejects.toMatchObject({
      code: 'HOLDFAST_NOT_QUARANTINED',
    })
  })

  it('answers one entry with its payload, also when that can’t be read', async () => {
    const monitor = fixture.monitor()
    await quarantine(fixture.db, 'a')
    await quarantine(fixture.db, 'b', { payload: '{broken' })
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
    await quarantine(fixture.db, 'a')
    await quarantine(fixture.db, 'b')
    await monitor.quarantine.discard('a')
    expect((await quarantinedRows(fixture.db)).map(({ id }) => id)).toEqual(['b'])
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
    await rowsGone(fixture.db)
    expect(await quarantinedRows(fixture.db)).toEqual(
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
    await rowsGone(fixture.db)
    expect((await quarantinedRows(fixture.db)).map(({ job_ref }) => job_ref)).toEqual(['a again', 'b again'])
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
    await quarantine(fixture.db, 'a')
    expect(await monitor.quarantine.retry('a')).toEqual({ kind: 'requeued', jobRef: 'job-a' })
    expect((await sql`select ref, body from jobs`.execute(fixture.db)).rows).toEqual([
      { ref: 'job-a', body: '{"of":"a"}' },
    ])
    expect(await quarantinedRows(fixture.db)).toEqual([])
    expect((await history()).rows).toEqual([{ outcome: 'requeued', cause: 'retry', crashes: 4 }])
    expect(events).toEqual([expect.objectContaining({ taskId: 'h:1:x/t-a', cause: 'retry', crashes: 4 })])
  })

  it('leaves all as it was when the queue refuses the job', async () => {
    const failing = new Set(['job-a'])
    const monitor = fixture.monitor({ adapters: [tableQueueAdapter({ failing })] })
    await quarantine(fixture.db, 'a')
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
    expect(await quarantinedRows(fixture.db)).toHaveLength(1)
    expect(await enqueuedRefs(fixture.db)).toEqual([])
    expect((await history()).rows).toEqual([])
  })

  it('keeps the count: the next crash brings the job straight back', async () => {
    const monitor = await fixture.started({ maxRecoveries: 0 })
    const crash = async () => {
      const { child } = await fixture.holder({ refs: ['killer'] })
      await child.kill()
      await until(async () => (await quarantinedRows(fixture.db)).length === 1)
    }
    await crash()
    await monitor.quarantine.retry((await quarantinedRows(fixture.db))[0]!.id)
    await crash()
    expect(await quarantinedRows(fixture.db)).toEqual([
      expect.objectContaining({ job_ref: 'killer', crashes: 2, payload: '{"jobRef":"killer"}' }),
    ])
    expect(await enqueuedRefs(fixture.db)).toEqual(['killer'])
  })

  it('keeps the count under the new identity that a queue gives the job', async () => {
    await quarantine(fixture.db, 'a')
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
    await quarantine(fixture.db, 'a', { queue: 'unknown' })
    await expect(monitor.quarantine.retry('b')).rejects.toMatchObject({ code: 'HOLDFAST_NOT_QUARANTINED' })
    await expect(monitor.quarantine.retry('a')).rejects.toMatchObject({ code: 'HOLDFAST_CONFIG' })
    expect(await quarantinedRows(fixture.db)).toHaveLength(1)
  })

  /** Ten retries at once, by two monitors. */
  const race = async (monitors: readonly TaskMonitor[]): Promise<string[]> => {
    const retries = refs(10).map((_, n) => monitors[n % 2]!.quarantine.retry('a'))
    const settled = await Promise.allSettled(retries)
    return settled.map((r) => (r.status === 'fulfilled' ? r.value.kind : (r.reason.code as string))).sort()
  }

  it('raced by others makes the job runnable once', async () => {
    await quarantine(fixture.db, 'a')
    expect(await race([fixture.monitor(), fixture.monitor()])).toEqual([
      ...Array(9).fill('HOLDFAST_NOT_QUARANTINED'),
      'requeued',
    ])
    expect(await enqueuedRefs(fixture.db)).toEqual(['job-a'])
  })

  it('raced by others for a queue elsewhere makes the job runnable once, and gives up on a queue that hangs', async () => {
    await using queue = await freshDatabase()
    await createElsewhere(queue.db)
    await quarantine(fixture.db, 'a', { queue: 'elsewhere' })
    const hanging = fixture.monitor({
      adapters: [elsewhereAdapter(queue.db, { at: () => new Promise(() => undefined) })],
      gcLockTtl: 500,
    })
    await expect(hanging.quarantine.retry('a')).rejects.toMatchObject({ code: 'HOLDFAST_ADAPTER_TIMEOUT' })
    expect(await quarantinedRows(fixture.db)).toHaveLength(1)

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
