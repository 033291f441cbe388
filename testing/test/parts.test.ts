import { expect, it } from 'vitest'
import { inParts, longestFirst, type Timed } from '../parts.js'

const files: Timed[] = [90, 3, 41, 40, undefined, 7, 64, 8, 120, 33].map((seconds, n) => ({
  project: n % 2 === 0 ? 'even' : 'odd',
  file: `test/${n}.test.ts`,
  seconds,
}))
const sum = (part: readonly Timed[]): number => part.reduce((all, { seconds = 15 }) => all + seconds, 0)

it('a part of the tests is as long as any other, and each file is in one of them', () => {
  const parts = inParts(files, 3)
  expect(parts.flat().toSorted(byName)).toEqual(files.toSorted(byName))
  const lengths = parts.map(sum)
  expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThan(20)
})

it('parts are the same on every machine, in whatever order it finds the files', () => {
  expect(inParts(files.toReversed(), 4)).toEqual(inParts(files, 4))
})

it('the longest files come first; the short ones last, project by project', () => {
  const order = longestFirst(files).map(({ project, seconds }) => `${seconds} ${project}`)
  expect(order).toEqual([
    ...['120 even', '90 even', '64 even', '41 even', '40 odd', '33 odd'],
    ...['undefined even', '3 odd', '7 odd', '8 odd'],
  ])
})

function byName(a: Timed, b: Timed): number {
  return a.file < b.file ? -1 : 1
}
