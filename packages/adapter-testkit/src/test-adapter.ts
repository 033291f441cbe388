import { capabilities } from './areas/capabilities.js'
import { contract } from './areas/contract.js'
import { crashCap } from './areas/crash-cap.js'
import { crashPoints } from './areas/crash-points.js'
import { fenced } from './areas/fenced.js'
import { fidelity } from './areas/fidelity.js'
import { once } from './areas/once.js'
import { ownTask } from './areas/own-task.js'
import { ownTaskCutOff } from './areas/own-task-cut-off.js'
import { running } from './areas/running.js'
import { situations } from './areas/situations.js'
import { stopping } from './areas/stopping.js'
import { trouble } from './areas/trouble.js'
import { Fleet } from './fleet.js'
import { LeaveOut } from './leave-out.js'
import { type TestRunner, TIMEOUT } from './runner.js'
import type { AdapterTestOptions, TestQueue } from './setup.js'
import type { Suite } from './suite.js'

const BY_WAY = [running, ownTask, ownTaskCutOff, fidelity, situations, fenced, stopping, crashCap]
const ONCE = [contract, capabilities, once, crashPoints, trouble]

/**
 * Defines the conformance tests of an adapter with the functions of your test runner: a suite for each database. Real
 * processes work on the real queue, and are killed.
 *
 * A name in `leaveOut` that no area begins with fails the suite.
 *
 * @throws Error when there is no database to run on
 */
export function testAdapter<Queue extends TestQueue>(
  runner: TestRunner,
  options: AdapterTestOptions<Queue>,
): void {
  for (const serverUrl of databasesOf(options)) {
    const { protocol } = new URL(serverUrl)
    const suite: Suite<Queue> = { runner, options, serverUrl, leaveOut: new LeaveOut(options) }
    runner.describe(`${options.name} with its monitor on ${protocol.slice(0, -1)}`, () => {
      for (const define of ONCE) define(suite)
      for (const way of options.ways) for (const define of BY_WAY) define(suite, way)
      suite.leaveOut.check()
      additional(suite)
    })
  }
}

function databasesOf({ databases }: Pick<AdapterTestOptions, 'databases'>): readonly string[] {
  const urls =
    databases ?? process.env.HOLDFAST_TESTKIT_DATABASES?.split(' ').filter((url) => url !== '') ?? []
  if (urls.length > 0) return urls
  throw new Error(
    'testAdapter() needs a database for the monitor: give `databases`, or set HOLDFAST_TESTKIT_DATABASES to the URLs of ' +
      'servers (postgres://… or mysql://…, separated by spaces) where databases may be created.',
  )
}

/** The adapter's own tests share a fleet. */
function additional<Queue extends TestQueue>({ runner, options, serverUrl }: Suite<Queue>): void {
  const { additionalTests } = options
  if (additionalTests === undefined) return
  runner.describe('and by its own tests', () => {
    let fleet: Fleet<Queue>
    runner.beforeAll(async () => {
      fleet = await Fleet.create(options, serverUrl)
    }, TIMEOUT)
    runner.afterAll(() => fleet?.[Symbol.asyncDispose](), TIMEOUT)
    additionalTests(runner, () => fleet)
  })
}
