import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { defineProject, mergeConfig, type UserWorkspaceConfig } from 'vitest/config'
import { integrationTests } from './base.js'
import { root } from './root.js'
import { type Leg, type Suite, suites } from './suites.js'

const full = process.env.HOLDFAST_TEST_FULL !== undefined

type SuiteName = keyof typeof suites

const legs = Object.values(suites as Record<string, Suite>).flatMap((suite) =>
  suite.legs.map((leg) => ({ suite, leg })),
)
const isQuick = ({ leg }: { leg: Leg }): boolean => leg.only?.length !== 0

/** A project of vitest for each leg. */
export const projects: readonly UserWorkspaceConfig[] = legs
  .filter((one) => full || isQuick(one))
  .map(({ suite, leg }) => projectOf(suite, leg))

/** The names of the legs that `npm test` leaves out as a whole. */
export const legsLeft: readonly string[] = full
  ? []
  : legs.filter((one) => !isQuick(one)).map(({ suite, leg }) => suite.name(leg))

/** A suite on one leg, by itself: what vitest runs in the package's folder. */
export function onLeg(name: SuiteName, db: string | undefined, version?: string): UserWorkspaceConfig {
  const suite: Suite = suites[name]
  return projectOf(suite, { db: db ?? 'postgres', version: version ?? suite.installed })
}

/** The tests of a package on one leg. Their files keep no state in a module. */
function projectOf(suite: Suite, leg: Leg): UserWorkspaceConfig {
  const folder = join(root, 'packages', suite.folder)
  const { only, leaveOut = [], leaveOutAreas = [] } = leg
  const left = only === undefined ? leaveOut : testsIn(folder).filter((file) => !only.includes(file))
  const areas =
    full || leaveOutAreas.length === 0 ? {} : { HOLDFAST_TESTKIT_LEAVE_OUT: leaveOutAreas.join(';') }
  return mergeConfig(
    integrationTests,
    defineProject({
      root: folder,
      test: {
        name: suite.name(leg),
        exclude: full ? [] : left.map((file) => `test/${file}.test.ts`),
        env: {
          HOLDFAST_TEST_DB: leg.db,
          ...(suite.services === undefined ? {} : { HOLDFAST_TEST_SERVICES: suite.services }),
          ...suite.env(leg.version, full),
          ...areas,
        },
        execArgv: (suite.preloads ?? []).flatMap((file) => [
          '--import',
          pathToFileURL(join(root, file)).href,
        ]),
        isolate: false,
      },
    }),
  )
}

function testsIn(folder: string): string[] {
  const files = readdirSync(join(folder, 'test'), { recursive: true, encoding: 'utf8' })
  return files.flatMap((file) => (file.endsWith('.test.ts') ? file.slice(0, -'.test.ts'.length) : []))
}
