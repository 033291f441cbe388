import { expect, it } from 'vitest'
import { LeaveOut } from '../src/leave-out.js'

it('areas are left out by how their names begin', () => {
  const out = new LeaveOut({ leaveOut: [' a recovery ', ''] })
  expect(['a recovery', 'a recovery that is undone', 'the adapter'].map((area) => out.has(area))).toEqual([
    ...[true, true, false],
  ])
  expect(() => out.check()).not.toThrow()
})

it('a name that no area begins with is refused, and told with those there are', () => {
  const out = new LeaveOut({ leaveOut: ['a recovry', 'the adapter'] })
  for (const area of ['a recovery', 'the adapter']) out.has(area)
  expect(() => out.check()).toThrow(
    'leaveOut has names that no area begins with: a recovry. The areas are: a recovery, the adapter',
  )
})
