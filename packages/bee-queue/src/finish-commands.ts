import type { BeeJobInternals, BeeQueueInternals, Finished } from './bee-queue.js'
import { storableError } from './thrown.js'

type Words = (string | number)[]

/** Carries out the commands; false when the job is no longer this process's and nothing was written. */
export type CarryOut = (commands: readonly Words[]) => Promise<boolean>

type Finish = BeeQueueInternals['_finishJob']

/** How a job ends. */
export interface End {
  readonly queue: BeeQueueInternals
  readonly job: BeeJobInternals
  readonly error?: unknown
  readonly data?: unknown
}

/**
 * Ends a job in one way or another: bee-queue breaks off where JSON can't hold the result, the error, or what a handler
 * has made of its job, and where a backoff of the user's throws. Then the job fails with that, as it was before; and in
 * the end without another try.
 *
 * @param text bee-queue's own, from before its handler began; '' when it is not known
 */
export async function finishSurely(
  finish: Finish,
  end: End & { readonly text: string; readonly hasSucceeded: boolean },
  carryOut: CarryOut,
  report: (error: unknown) => void,
): Promise<Finished> {
  const { job, text, hasSucceeded } = end
  let { error, data } = end
  for (let tries = 0; ; tries++) {
    try {
      return await finishThrough(finish, { ...end, error, data }, carryOut)
    } catch (cause) {
      if (tries === 2) throw cause
      report(cause)
      if (!hasSucceeded) error = storableError(error || cause)
      data = undefined
      if (text !== '') Object.assign(job, JSON.parse(text))
      if (tries === 1) job.options.retries = 0
    }
  }
}

/**
 * Lets bee-queue itself say how a job ends: retried or not, with which delay, what is kept and told. Only the writing is
 * ours, so that it can be refused.
 */
async function finishThrough(
  finish: Finish,
  { queue, error, data, job }: End,
  carryOut: CarryOut,
): Promise<Finished> {
  let written = false
  const commands: Words[] = []
  const exec = (done: (failure: unknown) => void): void => {
    carryOut(commands).then((answer) => {
      written = answer
      done(null)
    }, done)
  }
  const multi: object = new Proxy(
    { exec },
    {
      get: (target, name: string) =>
        name === 'exec'
          ? target.exec
          : (...words: Words) => {
              commands.push([name, ...words.flat()])
              return multi
            },
    },
  )
  // What runs when its queue was closed can end all the same: the commands go by another connection.
  const recording = Object.create(queue, {
    client: { value: { multi: () => multi } },
    _isClosed: { value: false },
  })
  const finished = await finish.call(recording, error, data, job)
  return written ? finished : undefined
}
