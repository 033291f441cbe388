import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { type DecidedJob, linkedSignal, overdue, recoverEach, TaskOverdueError } from '../src/index.js'

const jobs = ['a', 'b', 'c'].map((jobRef) => ({ jobRef }) as DecidedJob)
const requeue = async ({ jobRef }: DecidedJob) => ({ kind: 'requeued', jobRef }) as const

describe('recoverEach', () => {
  it('answers in the order of the jobs, and one that throws alone as failed', async () => {
    const error = new Error('no such queue')
    const outcomes = await recoverEach(jobs, { signal: new AbortController().signal }, async (job) => {
      if (job.jobRef === 'b') throw error
      return requeue(job)
    })
    expect(outcomes).toEqual([
      { kind: 'requeued', jobRef: 'a' },
      { kind: 'failed', error },
      { kind: 'requeued', jobRef: 'c' },
    ])
  })

  it('begins none when its right to recover is gone', async () => {
    const begun: DecidedJob[] = []
    const outcomes = await recoverEach(jobs, { signal: AbortSignal.abort('gone') }, async (job) => {
      begun.push(job)
      return requeue(job)
    })
    expect(outcomes).toEqual(Array(3).fill({ kind: 'failed', error: 'gone' }))
    expect(begun).toEqual([])
  })
})

describe('linkedSignal', () => {
  it('aborts with the first of its sources, and leaves no listener behind', () => {
    const [one, other] = [new AbortController(), new AbortController()]
    const { signal, unlink } = linkedSignal(one.signal, undefined, other.signal)
    other.abort('first')
    one.abort('second')
    expect(signal.reason).toBe('first')
    unlink()
    expect(getEventListeners(one.signal, 'abort')).toEqual([])
  })
})

describe('overdue', () => {
  it('rejects when a task has run for too long, and for no other reason', async () => {
    const reason = new TaskOverdueError('too long')
    await expect(overdue(AbortSignal.abort(reason))).rejects.toBe(reason)
    const pending = Promise.race([overdue(AbortSignal.abort('stopped')), Promise.resolve('still running')])
    expect(await pending).toBe('still running')
  })
})
