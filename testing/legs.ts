import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { defineProject, mergeConfig, type UserWorkspaceConfig } from 'vitest/config'
import { full, integrationTests, leftToFull } from './base.js'
import { testsIn } from './files.js'
import { root } from './root.js'
import { type Leg, type Suite, suites } from './suites.js'

type SuiteName = keyof typeof suites

/** Whether this run is to be of the newest version of each alone, on Postgres: for another Node. */
export const newestAlone = process.env.HOLDFAST_TEST_NEWEST !== undefined

/** A project of vitest for each leg. */
export const projects: readonly UserWorkspaceConfig[] = Object.values(
  suites as Record<string, Suite>,
).flatMap((suite) => legsOf(suite).map((leg) => projectOf(suite, leg)))

function legsOf({ legs }: Suite): readonly Leg[] {
  return newestAlone ? [{ ...legs[0]!, db: 'postgres', version: versionsOf(legs).at(-1)! }] : legs
}

/** From the oldest to the newest. */
function versionsOf(legs: readonly Leg[]): string[] {
  const { compare } = new Intl.Collator('en', { numeric: true })
  return [...new Set(legs.map(({ version }) => version))].sort(compare)
}

/** A suite on one leg, by itself: what vitest runs in the package's folder. */
export function onLeg(name: SuiteName, db: string | undefined, version?: string): UserWorkspaceConfig {
  const suite: Suite = suites[name]
  const versions = versionsOf(suite.legs)
  if (version !== undefined && !versions.includes(version))
    throw new Error(`The tests of ${suite.folder} know ${versions.join(', ')}, and no ${version}`)
  return projectOf(suite, { db: db ?? 'postgres', version: version ?? suite.installed })
}

/** The tests of a package on one leg. Their files keep no state in a module. */
function projectOf(suite: Suite, leg: Leg): UserWorkspaceConfig {
  const folder = join(root, 'packages', suite.folder)
  const { only, leaveOut = [], leaveOutAreas = [] } = leg
  const files = testsIn(folder)
  const unknown = [...(only ?? []), ...leaveOut].filter((file) => !files.includes(file))
  if (unknown.length > 0) throw new Error(`${folder} has no tests named ${unknown.join(', ')}`)
  const areas =
    full || leaveOutAreas.length === 0 ? {} : { HOLDFAST_TESTKIT_LEAVE_OUT: leaveOutAreas.join(';') }
  return mergeConfig(
    integrationTests,
    defineProject({
      root: folder,
      test: {
        name: suite.name(leg),
        exclude: leftToFull(only === undefined ? leaveOut : allBut(only, files)),
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

function allBut(some: readonly string[], files: readonly string[]): readonly string[] {
  return some.length === 0 ? ['**/*'] : files.filter((file) => !some.includes(file))
}
