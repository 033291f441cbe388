import { until } from '@holdfast/chaos'
import { describe, expect, it } from 'vitest'
import { WriteBatcher } from '../src/task/write-batcher.js'

/** A write that waits until the test lets it go. */
function gated() {
  const batches: number[][] = []
  const gates: (() => void)[] = []
  const write = async (items: readonly number[]): Promise<number[]> => {
    batches.push([...items])
    await new Promise<void>((resolve) => gates.push(resolve))
    return items.map((item) => item * 10)
  }
  return { batches, write, open: () => gates.shift()?.() }
}

describe('the write batcher', () => {
  it('sends a lone item at once and gathers the others while it is in flight', async () => {
    const { batches, write, open } = gated()
    const batcher = new WriteBatcher({ maxItems: 2, write })
    const results = [1, 2, 3, 4].map((item) => batcher.add(item))
    expect(batches).toEqual([[1]])
    open()
    await until(() => batches.length === 2)
    expect(batches).toEqual([[1], [2, 3]])
    open()
    await until(() => batches.length === 3)
    open()
    expect(await Promise.all(results)).toEqual([10, 20, 30, 40])
    expect(batches).toEqual([[1], [2, 3], [4]])
  })

  it('never puts items with the same key into one statement', async () => {
    const { batches, write, open } = gated()
    const batcher = new WriteBatcher({ maxItems: 10, write, conflictKey: (item) => String(item % 2) })
    const results = [1, 2, 4, 3].map((item) => batcher.add(item))
    for (let batch = 1; batch <= 3; batch++) {
      await until(() => batches.length === batch)
      open()
    }
    await Promise.all(results)
    expect(batches).toEqual([[1], [2, 3], [4]])
  })

  it('never puts more weight into one statement than it may, unless one item has more', async () => {
    const { batches, write, open } = gated()
    const weigh = (item: number): number => item
    const batcher = new WriteBatcher({ maxItems: 10, maxWeight: () => 5, weigh, write })
    const results = [1, 2, 3, 9, 4].map((item) => batcher.add(item))
    for (let batch = 1; batch <= 4; batch++) {
      await until(() => batches.length === batch)
      open()
    }
    await Promise.all(results)
    expect(batches).toEqual([[1], [2, 3], [9], [4]])
  })

  it('tells everyone of a batch that fails, and goes on with the next', async () => {
    let fail = true
    const batcher = new WriteBatcher<number, number>({
      maxItems: 10,
      write: async (items) => {
        await null
        if (fail) throw new Error('down')
        return [...items]
      },
    })
    const first = await Promise.allSettled([batcher.add(1), batcher.add(2)])
    expect(first.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    fail = false
    expect(await batcher.add(3)).toBe(3)
  })
})
