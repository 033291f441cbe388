import { setMaxListeners } from 'node:events'

/**
 * For an adapter: a signal that aborts with the first of `sources`, until it is unlinked. `AbortSignal.any` would pile up
 * on sources that outlive it.
 */
export function linkedSignal(...sources: (AbortSignal | undefined)[]): {
  signal: AbortSignal
  unlink(): void
} {
  const controller = new AbortController()
  const unlinks = sources.map((source) => {
    if (source === undefined) return () => undefined
    // Shared by every job that runs: many listeners are no leak here.
    setMaxListeners(0, source)
    const abort = (): void => controller.abort(source.reason)
    if (source.aborted) abort()
    source.addEventListener('abort', abort)
    return () => source.removeEventListener('abort', abort)
  })
  return {
    signal: controller.signal,
    unlink: () => {
      for (const unlink of unlinks) unlink()
    },
  }
}
