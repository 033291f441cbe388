import { expect, it } from 'vitest'
import { judge } from '../chaos/verdict.js'

type Entry = { what: string; job?: string; worker?: number; pid?: number; succeeded?: string[] }

const started = (pid: number): Entry => ({ what: 'started', job: 'a', pid })
const succeeded = (pid: number): Entry => ({ what: 'succeeded', job: 'a', pid })
const harm = (from: string, to: string, worker: number): Entry[] => [
  { what: from, worker },
  { what: to, worker },
]
const killed = (pid: number): Entry[] => harm('killing', 'killed', pid)
const wiped = (...known: string[]): Entry[] => [{ what: 'wiping' }, { what: 'wiped', succeeded: known }]
/** Of entries about job `a`; at the end Redis knows what has succeeded since it was wiped. */
const verdict = (...entries: Entry[]): string => {
  const lastWipe = entries.findLastIndex(({ what }) => what === 'wiped')
  const known = entries.slice(lastWipe + 1).some(({ what }) => what === 'succeeded') ? ['a'] : []
  const all: Entry[] = [
    { what: 'accepted', job: 'a' },
    ...entries,
    { what: 'answered', job: 'a' },
    { what: 'ended', succeeded: known },
  ]
  const { lost, doubled } = judge(all)
  return [lost.length > 0 ? 'lost' : '', doubled.length > 0 ? 'doubled' : ''].filter(Boolean).join(' and ')
}

it('a job that ran once is neither lost nor doubled', () => {
  expect(verdict(started(1), succeeded(1))).toBe('')
})

it('a job without an answer, or without a success, is lost', () => {
  const ended = { what: 'ended', succeeded: ['a'] }
  expect(judge([{ what: 'accepted', job: 'a' }, started(1), succeeded(1), ended]).lost).toEqual(['a'])
  expect(verdict(started(1), ...killed(1))).toBe('lost')
  expect(verdict(...wiped())).toBe('lost')
})

it('a job whose report was written may be lost with Redis, where it waits to run again', () => {
  expect(verdict(started(1), ...killed(1), ...wiped())).toBe('')
  expect(verdict(...wiped(), started(1), ...killed(1))).toBe('lost')
})

it('a success that only Redis knows of counts', () => {
  expect(verdict(started(1), ...killed(1), ...wiped('a'))).toBe('')
})

it('a second run needs harm to the very process of the first', () => {
  expect(verdict(started(1), ...killed(1), started(2), succeeded(2))).toBe('')
  expect(verdict(started(1), ...harm('pausing', 'resumed', 1), started(2), succeeded(2))).toBe('')
  expect(verdict(started(1), { what: 'stopping', worker: 1 }, started(2), succeeded(2))).toBe('')
  expect(verdict(started(1), ...killed(3), started(2), succeeded(2))).toBe('doubled')
  expect(verdict(...killed(1), started(1), started(2), succeeded(2))).toBe('doubled')
  expect(verdict(started(1), started(1), succeeded(1))).toBe('doubled')
})

it('each run needs an excuse of its own', () => {
  expect(verdict(started(1), ...killed(1), started(2), started(3), succeeded(3))).toBe('doubled')
})

it('a wipe alone excuses no second run', () => {
  expect(verdict(started(1), ...wiped(), started(2), succeeded(2))).toBe('doubled')
})

it('after an accepted success it takes a wipe and harm', () => {
  const again = [started(2), succeeded(2)]
  expect(verdict(started(1), succeeded(1), ...killed(1), ...again)).toBe('doubled')
  expect(verdict(started(1), succeeded(1), ...wiped('a'), ...again)).toBe('doubled')
  expect(verdict(started(1), succeeded(1), ...killed(1), ...wiped('a'), ...again)).toBe('')
})

it('a paused process may tell late of a success that Redis knew of, and may have no other', () => {
  const paused = [started(1), { what: 'pausing', worker: 1 }]
  const again = [started(2), succeeded(2)]
  const resumed = { what: 'resumed', worker: 1 }
  expect(verdict(...paused, ...again, resumed)).toBe('')
  expect(verdict(...paused, ...wiped('a'), ...again, resumed, succeeded(1))).toBe('')
  expect(verdict(...paused, ...wiped(), ...again, resumed, succeeded(1))).toBe('doubled')
  expect(verdict(...paused, ...again, resumed, succeeded(1))).toBe('doubled')
})
