import { defineConfig } from 'vitest/config'
import { coreOn, full, legs, moreLegs } from './vitest.legs.js'

const wanted = full ? [...legs, ...moreLegs] : legs

export default defineConfig({
  test: {
    projects: ['packages/!(core)', 'tooling/*', 'examples/*', ...wanted.map(coreOn)],
    maxWorkers: 2,
  },
})
