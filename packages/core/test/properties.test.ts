// Random histories of several processes, held against the promises after every step.
//
// A failure names its seed and path and the operations that lead to it. To run just that again:
//   HOLDFAST_PROPERTY_SEED=… HOLDFAST_PROPERTY_PATH=… HOLDFAST_TEST_DB=… npx vitest run test/properties.test.ts -t 'one after the other'
// with the database of the run that failed, and -t for the test that did. HOLDFAST_PROPERTY_RUNS sets how many
// histories each test tries.

import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { clearTables } from '../src/store/clear.js'
import { openStore } from '../src/store/store.js'
import { Fixture } from './support/fixture.js'
import { Fleet } from './support/fleet.js'
import { concurrentOperations, type Operation, operations } from './support/operations.js'
import { Promises } from './support/promises.js'

const {
  HOLDFAST_PROPERTY_RUNS: runs,
  HOLDFAST_PROPERTY_SEED: seed,
  HOLDFAST_PROPERTY_PATH: path,
} = process.env

/** Milliseconds for all histories of a test: ten seconds for each, which takes one at most where nothing else runs. */
const limit = (numRuns: number): number => Math.max(180_000, 10_000 * numRuns)

const runsOf = (numRuns: number): number => (runs === undefined ? numRuns : Number(runs))

const parameters = (numRuns: number): fc.Parameters<unknown> => ({
  numRuns: runsOf(numRuns),
  ...(seed === undefined ? {} : { seed: Number(seed) }),
  ...(path === undefined ? {} : { path }),
  // Looking for a shorter history that fails too must end. Of one that hangs, or of fewer than asked for, none is well.
  interruptAfterTimeLimit: limit(runsOf(numRuns)),
  markInterruptAsFailure: true,
})

// What hangs is told by fast-check, with its seed.
const timeout = 2 * limit(runsOf(100))

describe('whatever happens in which order, the promises hold', { timeout }, () => {
  let fixture: Fixture
  beforeAll(async () => {
    fixture = await Fixture.create()
  })
  afterAll(() => fixture[Symbol.asyncDispose]())

  const live = async (steps: readonly (readonly Operation[])[], atomic: boolean): Promise<void> => {
    const { db } = fixture
    await clearTables(openStore(db, {}))
    await sql`delete from jobs`.execute(db)
    await sql`delete from enqueued`.execute(db)
    const alone = steps.every(({ length }) => length === 1)
    const fleet = await Fleet.create(db, atomic)
    const promises = new Promises(db, !alone)
    for (const step of steps) {
      await Promise.all(step.map((operation) => fleet.perform(operation, alone)))
      await promises.check(fleet.registrations)
    }
    await fleet.end()
    await promises.checkEnd(fleet.registrations)
  }

  it('one after the other', async () => {
    const property = fc.asyncProperty(operations, fc.boolean(), (steps, atomic) =>
      live(
        steps.map((operation) => [operation]),
        atomic,
      ),
    )
    await fc.assert(property, parameters(60))
  })

  it('all processes at once', async () => {
    await fc.assert(fc.asyncProperty(concurrentOperations, fc.boolean(), live), parameters(30))
  })
})
