import { until } from '@holdfast/chaos'
import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TaskHandle, TaskMonitor } from '../src/index.js'
import { mortal } from './support/fast.js'
import { Fixture } from './support/fixture.js'
import { Gate } from './support/gate.js'
import { enqueuedRefs, taskRows } from './support/table-queue.js'

describe('a job that is registered while another process has its row', () => {
  let fixture: Fixture
  let theirs: TaskMonitor
  let ours: TaskMonitor
  beforeEach(async () => {
    fixture = await Fixture.create()
    theirs = await fixture.started()
    ours = await fixture.started()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const job = (attempt?: number, jobRef = 'a') => ({
    payload: { jobRef },
    jobRef,
    ...(attempt === undefined ? {} : { attempt }),
  })

  /** Completes a task in a transaction that stays open until it is told how to end. */
  async function completesIn(task: TaskHandle) {
    const gate = new Gate()
    let undo = false
    const done = fixture.db
      .transaction()
      .execute(async (trx) => {
        await task.complete({ trx })
        await gate.reached()
        if (undo) throw new Error('undone')
      })
      .catch((error) => expect(error.message).toBe('undone'))
    await gate.arrived
    return async (how: 'commit' | 'roll back') => {
      undo = how === 'roll back'
      gate.open()
      await done
    }
  }

  it('is taken over by a newer attempt: the other’s later writes touch nothing', async () => {
    const old = await theirs.register(job(7))
    const task = await ours.register(job(8))
    await expect(old.complete()).rejects.toMatchObject({ code: 'HOLDFAST_TASK_LOST' })
    expect(await taskRows(fixture.db)).toMatchObject([{ id: task.id, process_id: ours.processId }])
    await task.complete()
  })

  it.each([7, 6, undefined])(
    'is refused to attempt %s after attempt 7, and stays the other’s',
    async (attempt) => {
      const old = await theirs.register(job(7))
      await expect(ours.register(job(attempt))).rejects.toMatchObject({
        code: 'HOLDFAST_JOB_TAKEN',
        message: expect.stringContaining('is not newer than the one that is in flight'),
      })
      expect(await taskRows(fixture.db)).toMatchObject([{ id: old.id, process_id: theirs.processId }])
      expect(ours.health()).toMatchObject({ inFlight: 0, unsettled: 0 })
      await old.complete()
      await (await ours.register(job(attempt))).complete()
    },
  )

  it('is registered again by its own process as by others: once for an attempt', async () => {
    const first = await ours.register(job(7))
    await expect(ours.register(job(7))).rejects.toMatchObject({ code: 'HOLDFAST_JOB_TAKEN' })
    expect(await taskRows(fixture.db)).toMatchObject([{ id: first.id }])
    const next = await ours.register(job(8))
    expect(await taskRows(fixture.db)).toMatchObject([{ id: next.id }])
    await next.complete()
  })

  it('waits for a transaction that ends its last run, and keeps neither heartbeats nor other jobs waiting', async () => {
    const end = await completesIn(await theirs.register(job()))
    const beats = async (): Promise<number> => {
      const { rows } = await sql<{
        beat: unknown
      }>`select beat from holdfast_processes where process_id = ${ours.processId}`.execute(fixture.db)
      return Number(rows[0]!.beat)
    }
    const before = await beats()
    let registered: TaskHandle | undefined
    const waiting = ours.register(job()).then((task) => {
      registered = task
    })
    for (let n = 0; n < 5; n++) await (await ours.register(job(undefined, `other ${n}`))).complete()
    await until(async () => (await beats()) > before + 5)
    expect(registered).toBeUndefined()
    expect(ours.health().events).not.toHaveProperty('heartbeatFailed')
    await end('commit')
    await waiting
    const rows = (await taskRows(fixture.db)).filter(({ job_ref }) => job_ref === 'a')
    expect(rows).toMatchObject([{ id: registered!.id, process_id: ours.processId }])
    await registered!.complete()
  })

  it('is given up while it waits so, when its signal aborts or its monitor stops', async () => {
    const end = await completesIn(await theirs.register(job()))
    const controller = new AbortController()
    const cancelled = ours.register({ ...job(), signal: controller.signal })
    const stopped = ours.register({ ...job(), id: 'another' })
    controller.abort(new Error('cancelled'))
    await expect(cancelled).rejects.toThrow('cancelled')
    const refused = expect(stopped).rejects.toMatchObject({ code: 'HOLDFAST_STOPPED' })
    await ours.stop({ drain: 0 })
    await refused
    await end('roll back')
    expect(await taskRows(fixture.db)).toMatchObject([{ process_id: theirs.processId, job_ref: 'a' }])
  })

  it.each(['commit', 'roll back'] as const)(
    'by a process that is killed while it waits so is not kept from being fenced, nor taken when they %s',
    async (how) => {
      const old = await theirs.register(job(undefined, 'late'))
      const end = await completesIn(old)
      const { child, processId } = await fixture.holder({ refs: ['x'] })
      const judge = await fixture.started(mortal)
      child.send({ registerThenBlock: 1 })
      await child.message('blocking')
      await child.kill()
      await until(async () => (await enqueuedRefs(fixture.db)).includes('x'), {
        what: 'its own job is recovered',
      })
      const { rows } = await sql<{
        state: string
      }>`select state from holdfast_processes where process_id = ${processId}`.execute(fixture.db)
      expect(rows.filter(({ state }) => state === 'alive')).toEqual([])
      await end(how)
      await judge.pingProcess()
      expect(await theirs.settle(old)).toBe(how === 'commit' ? 'completed' : 'open')
      if (old.open) await old.complete()
      expect(await enqueuedRefs(fixture.db)).toEqual(['x'])
    },
  )
})
