import type { Job } from 'bullmq'
import { type BullmqAdapter, bullmqAdapter } from '../../src/index.js'

type Processor = (job: Job, token?: string, signal?: AbortSignal) => Promise<unknown>

/**
 * What users put around a processor that is protected, or do to one: `tracker` awaits it and throws its errors on, `new
 * error` throws others; `careless` does not wait for it; `hasty` gives it up when the gate `hasty` opens; `tokenless`
 * passes on the job alone; `derived` and `proxy` give it a job made of BullMQ's, `copy` one that is none; `again` calls it
 * once more when it has failed; `after` throws when it has succeeded; `twice` is protected twice, as it was the first
 * time; `track in hand-off`, `hand-off in track`; `two adapters`, each with a row of its own if it were not for the other.
 */
export type Wrapper =
  | 'tracker'
  | 'new error'
  | 'careless'
  | 'hasty'
  | 'tokenless'
  | 'derived'
  | 'proxy'
  | 'copy'
  | 'again'
  | 'after'
  | 'twice'
  | 'track in hand-off'
  | 'hand-off in track'
  | 'two adapters'

export interface WrappedParts {
  readonly adapter: BullmqAdapter
  readonly other: BullmqAdapter
  readonly way: 'track' | 'handOff'
  isOpen(gate: string): boolean
}

export const otherAdapter = (queues: Parameters<typeof bullmqAdapter>[0]['queues']): BullmqAdapter =>
  bullmqAdapter({ queues, name: 'other' })

export function wrapped(wrapper: Wrapper, processor: Processor, parts: WrappedParts): Processor {
  const { adapter, other, way, isOpen } = parts
  const of = (adapter: BullmqAdapter, way: 'track' | 'handOff', inner: Processor): Processor =>
    way === 'track' ? adapter.track(inner as never) : adapter.handOff(inner as never, { concurrency: 1 })
  const protect = (inner: Processor): Processor => of(adapter, way, inner)
  const inner = protect(processor)
  switch (wrapper) {
    case 'tracker':
      return async (job, token, signal) => inner(job, token, signal)
    case 'new error':
      return (job, token, signal) =>
        inner(job, token, signal).catch((cause) => {
          throw new TypeError('told to the tracker', { cause })
        })
    case 'careless':
      return async (job, token) => void inner(job, token).catch(() => undefined)
    case 'hasty':
      return (job, token) => {
        const givesUp = async (): Promise<never> => {
          while (!isOpen('hasty')) await new Promise((resolve) => setTimeout(resolve, 10))
          throw new Error('given up')
        }
        return Promise.race([inner(job, token), givesUp()])
      }
    case 'tokenless':
      return async (job) => inner(job)
    case 'derived':
      return (job, token, signal) => inner(Object.create(job), token, signal)
    case 'proxy':
      return (job, token, signal) => inner(new Proxy(job, {}), token, signal)
    case 'copy':
      return (job, token, signal) => inner({ ...job } as never, token, signal)
    case 'again':
      return (job, token, signal) => inner(job, token, signal).catch(() => inner(job, token, signal))
    case 'after':
      return async (job, token, signal) => {
        await inner(job, token, signal)
        throw new Error('the tracker failed')
      }
    case 'twice':
      return protect(inner)
    case 'track in hand-off':
      return of(adapter, 'handOff', of(adapter, 'track', processor))
    case 'hand-off in track':
      return of(adapter, 'track', of(adapter, 'handOff', processor))
    case 'two adapters':
      return of(other, way, inner)
  }
}
