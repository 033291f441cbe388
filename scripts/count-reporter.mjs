// A vitest reporter that counts tests per project (a package, or the monitor on one database and version of Kysely)
// and writes that to the file named by HOLDFAST_TEST_COUNTS.
import { writeFileSync } from 'node:fs'

export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = {}
    const skipped = {}
    const leftOut = {}
    for (const module of modules) {
      const project = module.project.name || 'other'
      counts[project] ??= { passed: 0, failed: 0, skipped: 0 }
      const count = counts[project]
      const { exclude, env } = module.project.config
      const areas = env?.HOLDFAST_TESTKIT_LEAVE_OUT?.split(';').map((area) => `conformance: ${area}`) ?? []
      const files = [...exclude.filter((file) => file.startsWith('test/')), ...areas]
      if (files.length > 0) leftOut[project] = files
      // A file that can't be loaded, or a hook that throws: its tests never ran.
      for (const unit of [module, ...module.children.allSuites()]) count.failed += unit.errors().length
      for (const test of module.children.allTests()) {
        const { state, note } = test.result()
        count[state] = (count[state] ?? 0) + 1
        if (state !== 'skipped') continue
        const name = note ? `${test.fullName}: ${note}` : test.fullName
        skipped[name] = [...(skipped[name] ?? []), project]
      }
    }
    const result = { counts, skipped, leftOut, unhandled: unhandledErrors.length }
    writeFileSync(process.env.HOLDFAST_TEST_COUNTS, JSON.stringify(result))
  }
}
