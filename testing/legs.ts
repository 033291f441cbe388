import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { defineProject, mergeConfig, type UserWorkspaceConfig } from 'vitest/config'
import { full, integrationTests, leftToFull } from './base.js'
import { testsIn } from './files.js'
import { root } from './root.js'
import { type Leg, type Suite, suites } from './suites.js'

type SuiteName = keyof typeof suites

/** A project of vitest for each leg. */
export const projects: readonly UserWorkspaceConfig[] = Object.values(
  suites as Record<string, Suite>,
).flatMap((suite) => suite.legs.map((leg) => projectOf(suite, leg)))

/** A suite on one leg, by itself: what vitest runs in the package's folder. */
export function onLeg(name: SuiteName, db: string | undefined, version?: string): UserWorkspaceConfig {
  const suite: Suite = suites[name]
  return projectOf(suite, { db: db ?? 'postgres', version: version ?? suite.installed })
}

/** The tests of a package on one leg. Their files keep no state in a module. */
function projectOf(suite: Suite, leg: Leg): UserWorkspaceConfig {
  const folder = join(root, 'packages', suite.folder)
  const { only, leaveOut = [], leaveOutAreas = [] } = leg
  const areas =
    full || leaveOutAreas.length === 0 ? {} : { HOLDFAST_TESTKIT_LEAVE_OUT: leaveOutAreas.join(';') }
  return mergeConfig(
    integrationTests,
    defineProject({
      root: folder,
      test: {
        name: suite.name(leg),
        exclude: leftToFull(only === undefined ? leaveOut : allBut(only, folder)),
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

function allBut(some: readonly string[], folder: string): string[] {
  return some.length === 0 ? ['**/*'] : testsIn(folder).filter((file) => !some.includes(file))
}
