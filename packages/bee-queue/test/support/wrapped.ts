import type { BeeQueueAdapter } from '../../src/index.js'

type Handler = (job: never, done?: never) => Promise<unknown>

/**
 * What users put around a handler that is protected, or do to one: `tracker` awaits it and throws its errors on, `new
 * error` throws others; `careless` does not wait for it; `derived` and `copy` give it a job made of bee-queue's;
 * `again` calls it once more when it has failed; `after` throws when it has succeeded; `twice` is protected twice, as it
 * was the first time; `track in hand-off`, `hand-off in track`.
 */
export type Wrapper =
  | 'tracker'
  | 'new error'
  | 'careless'
  | 'derived'
  | 'copy'
  | 'again'
  | 'after'
  | 'twice'
  | 'track in hand-off'
  | 'hand-off in track'

export function wrapped(
  wrapper: Wrapper,
  adapter: BeeQueueAdapter,
  way: 'track' | 'callback' | 'handOff',
  handler: never,
): unknown {
  const handOff = (inner: never) => adapter.handOff(inner, { concurrency: 1 }) as unknown as Handler
  const track = (inner: never) => adapter.track(inner) as unknown as Handler
  const protect = way === 'handOff' ? handOff : track
  const inner = protect(handler)
  switch (wrapper) {
    case 'tracker':
      return async (job: never) => inner(job)
    case 'new error':
      return (job: never) =>
        inner(job).catch((cause) => {
          throw new TypeError('told to the tracker', { cause })
        })
    case 'careless':
      return async (job: never) => void inner(job).catch(() => undefined)
    case 'derived':
      return (job: never) => inner(Object.create(job) as never)
    case 'copy':
      return (job: object) => inner({ ...job } as never)
    case 'again':
      return (job: never) => inner(job).catch(() => inner(job))
    case 'after':
      return async (job: never) => {
        await inner(job)
        throw new Error('the tracker failed')
      }
    case 'twice':
      return protect(inner as never)
    case 'track in hand-off':
      return handOff(track(handler) as never)
    case 'hand-off in track':
      return track(handOff(handler) as never)
  }
}
