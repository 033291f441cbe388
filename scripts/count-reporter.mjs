// A vitest reporter that counts tests per project (a package, or the monitor on one database and version of Kysely)
// and writes that to the file named by HOLDFAST_TEST_COUNTS.
import { writeFileSync } from 'node:fs'

export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const counts = {}
    const skipped = {}
    for (const module of modules) {
      const project = module.project.name || 'other'
      counts[project] ??= { passed: 0, failed: 0, skipped: 0 }
      const count = counts[project]
      // A file that could not be loaded has no tests that could fail.
      if (module.state() === 'failed' && [...module.children.allTests()].length === 0) count.failed += 1
      for (const test of module.children.allTests()) {
        const { state, note } = test.result()
        count[state] = (count[state] ?? 0) + 1
        if (state !== 'skipped') continue
        const name = note ? `${test.fullName}: ${note}` : test.fullName
        skipped[name] = [...(skipped[name] ?? []), project]
      }
    }
    const result = { counts, skipped, unhandled: unhandledErrors.length }
    writeFileSync(process.env.HOLDFAST_TEST_COUNTS, JSON.stringify(result))
  }
}
