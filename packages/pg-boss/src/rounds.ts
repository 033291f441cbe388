import { setTimeout as delay } from 'node:timers/promises'

/** Milliseconds that those who can go on wait for the others. */
const GRACE = 250

/** Answers what settles together, in order, then what settles later, until all have. None may reject. */
export async function* rounds<T>(promises: readonly Promise<T>[]): AsyncGenerator<T[]> {
  let settled: { readonly index: number; readonly value: T }[] = []
  let left = promises.length
  let wake = (): void => undefined
  for (const [index, promise] of promises.entries()) {
    void promise.then((value) => {
      settled.push({ index, value })
      left -= 1
      wake()
    })
  }
  while (left > 0 || settled.length > 0) {
    if (settled.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const over = new AbortController()
    const grace = delay(GRACE, undefined, { signal: over.signal }).catch(() => undefined)
    const all = new Promise<void>((resolve) => {
      wake = () => {
        if (left === 0) resolve()
      }
      wake()
    })
    await Promise.race([all, grace])
    over.abort()
    const round = settled
    settled = []
    yield round.sort((a, b) => a.index - b.index).map(({ value }) => value)
  }
}
