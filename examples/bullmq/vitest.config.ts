export { integrationTests as default } from '../../vitest.base.js'
