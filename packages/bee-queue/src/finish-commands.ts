import type { BeeJobInternals, BeeQueueInternals, Finished } from './bee-queue.js'

type Words = (string | number)[]

/** Carries out the commands; false when the job is no longer this process's and nothing was written. */
export type CarryOut = (commands: readonly Words[]) => Promise<boolean>

type Finish = BeeQueueInternals['_finishJob']

/**
 * Lets bee-queue itself say how a job ends: retried or not, with which delay, what is kept and told. Only the writing is
 * ours, so that it can be refused.
 */
export async function finishThrough(
  finish: Finish,
  {
    queue,
    error,
    data,
    job,
  }: { queue: BeeQueueInternals; error: unknown; data: unknown; job: BeeJobInternals },
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
