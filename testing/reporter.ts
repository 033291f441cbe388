import { writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { Reporter, TestModule, TestProject, Vitest } from 'vitest/node'
import { nameIn, testsIn } from './files.js'
import { root } from './root.js'

/**
 * Counts tests per project (a package, or one on a database and a version), says what failed, how long each file took
 * and what was left out, and writes that to the file named by HOLDFAST_TEST_REPORT.
 */
export default class TestReporter implements Reporter {
  #projects: readonly TestProject[] = []

  onInit({ projects }: Vitest): void {
    this.#projects = projects
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const counts: Record<string, Record<string, number>> = {}
    const skipped: Record<string, string[]> = {}
    const times: { project: string; file: string; seconds: number; isWhole: boolean }[] = []
    const failures: { project: string; name: string; message: string }[] = []
    for (const module of modules) {
      const project = module.project.name
      counts[project] ??= { passed: 0, failed: 0, skipped: 0 }
      const count = counts[project]
      const { collectDuration, duration } = module.diagnostic()
      const seconds = (collectDuration + duration) / 1_000
      const file = relative(root, module.moduleId)
      times.push({ project, file, seconds, isWhole: module.ok() })
      const tell = (name: string, error: { readonly message: string } | undefined) =>
        failures.push({ project, name: `${file} > ${name}`, message: error?.message ?? '' })
      // A file that can't be loaded, or a hook that throws: its tests never ran.
      for (const unit of [module, ...module.children.allSuites()]) {
        count.failed! += unit.errors().length
        for (const error of unit.errors()) tell(unit.type === 'suite' ? unit.fullName : 'the file', error)
      }
      for (const test of module.children.allTests()) {
        const result = test.result()
        count[result.state] = (count[result.state] ?? 0) + 1
        if (result.state === 'failed') tell(test.fullName, result.errors[0])
        if (result.state !== 'skipped') continue
        const name = result.note ? `${test.fullName}: ${result.note}` : test.fullName
        skipped[name] = [...(skipped[name] ?? []), project]
      }
    }
    const unhandled = unhandledErrors.map((error) => (error as Error).stack ?? String(error))
    const leftOut = Object.fromEntries(this.#projects.map((project) => [project.name, leftOutOf(project)]))
    const report = { counts, failures, skipped, leftOut, times, unhandled }
    writeFileSync(process.env.HOLDFAST_TEST_REPORT!, JSON.stringify(report))
  }
}

/** What `npm test` leaves out of a project: the shorter of "these" and "all but these". */
function leftOutOf({ config }: TestProject): string {
  const { exclude, root: folder } = config
  // A project that sets none has none, whatever its type says.
  const env: Partial<Record<string, string>> | undefined = config.env
  const areas = env?.HOLDFAST_TESTKIT_LEAVE_OUT
  const ofConformance = areas === undefined ? [] : [`of conformance ${areas.split(';').join(', ')}`]
  const left = exclude.flatMap((pattern) => nameIn(pattern) ?? [])
  if (left.length === 0) return ofConformance.join()
  if (left.includes('**/*')) return 'everything'
  const run = testsIn(folder).filter((file) => !left.includes(file))
  const files = run.length < left.length ? `all but ${run.join(', ')}` : left.join(', ')
  return [files, ...ofConformance].join('; ')
}
