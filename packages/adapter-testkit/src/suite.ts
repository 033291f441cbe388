import { Fleet } from './fleet.js'
import type { LeaveOut } from './leave-out.js'
import { type TestRunner, TIMEOUT } from './runner.js'
import type { AdapterTestOptions, TestQueue, Way } from './setup.js'

/** What an area of tests is made with. */
export interface Suite<Queue extends TestQueue = TestQueue> {
  readonly runner: TestRunner
  readonly options: AdapterTestOptions<Queue>
  readonly serverUrl: string
  readonly leaveOut: LeaveOut
}

/** An area with a fleet of its own. What happens is arranged once, in `arrange`; the tests look at what came of it. */
export function area<Queue extends TestQueue, Arranged>(
  { runner, options, serverUrl, leaveOut }: Suite<Queue>,
  name: string,
  arrange: (fleet: Fleet<Queue>) => Promise<Arranged>,
  tests: (
    it: (name: string, test: (fleet: Fleet<Queue>, arranged: Arranged) => Promise<void>) => void,
  ) => void,
): void {
  if (leaveOut.has(name)) return
  runner.describe(name, () => {
    let fleet: Fleet<Queue> | undefined
    let arranged: Arranged
    runner.beforeAll(async () => {
      fleet = await Fleet.create(options, serverUrl)
      arranged = await arrange(fleet)
    }, TIMEOUT)
    runner.afterAll(() => fleet?.[Symbol.asyncDispose](), TIMEOUT)
    tests((title, test) => runner.it(title, () => test(fleet!, arranged), TIMEOUT))
  })
}

/** The first of these ways that the adapter has. */
export const wayOf = ({ options }: Pick<Suite, 'options'>, ...ways: Way[]): Way | undefined =>
  ways.find((way) => options.ways.includes(way))
