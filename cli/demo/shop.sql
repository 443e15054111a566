CREATE SCHEMA marketing;
CREATE SCHEMA finance;

CREATE TABLE customers (id int PRIMARY KEY, name text, email text, country text, created_at timestamptz);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, status text, total numeric(12, 2), ordered_at timestamptz);
CREATE TABLE order_items (order_id int REFERENCES orders, line int, sku text, quantity int, price numeric(12, 2), PRIMARY KEY (order_id, line));
CREATE TABLE inventory (sku text PRIMARY KEY, stock int, warehouse text);
CREATE TABLE exchange_rates (currency text, day date, rate numeric, PRIMARY KEY (currency, day));
CREATE TABLE returns (id int PRIMARY KEY, order_id int, reason text);
CREATE TABLE legacy_report_2019 (id int, payload text);
CREATE TABLE marketing.campaigns (id int PRIMARY KEY, name text, channel text, budget numeric);
CREATE TABLE marketing.clicks (campaign_id int, customer_id int, clicked_at timestamptz);
CREATE TABLE finance.payments (id int PRIMARY KEY, order_id int, method text, amount numeric(12, 2), paid_at timestamptz);
CREATE TABLE finance."Monthly Revenue" (month date PRIMARY KEY, "Gross" numeric, "Net" numeric);

INSERT INTO customers SELECT n, 'customer ' || n, 'c' || n || '@example.org', (ARRAY['DE', 'FR', 'IT', 'PL'])[1 + n % 4], timestamptz '2026-01-01' + n * interval '1 hour' FROM generate_series(1, 500) n;
INSERT INTO orders SELECT n, 1 + n % 500, (ARRAY['open', 'paid', 'shipped', 'returned'])[1 + n % 4], n % 900, timestamptz '2026-02-01' + n * interval '10 minutes' FROM generate_series(1, 2000) n;
INSERT INTO order_items SELECT n, line, 'sku-' || (n * line) % 90, 1 + line, 10 * line FROM generate_series(1, 2000) n, generate_series(1, 2) line;
INSERT INTO inventory SELECT 'sku-' || n, n * 3, 'north' FROM generate_series(0, 89) n;
INSERT INTO exchange_rates SELECT 'USD', date '2026-01-01' + n, 1.1 FROM generate_series(0, 60) n;
INSERT INTO marketing.campaigns SELECT n, 'campaign ' || n, (ARRAY['mail', 'search', 'social'])[1 + n % 3], 1000 * n FROM generate_series(1, 30) n;
INSERT INTO marketing.clicks SELECT 1 + n % 30, 1 + n % 500, timestamptz '2026-03-01' + n * interval '1 minute' FROM generate_series(1, 3000) n;
INSERT INTO finance.payments SELECT n, n, (ARRAY['card', 'transfer'])[1 + n % 2], n % 900, timestamptz '2026-02-02' + n * interval '10 minutes' FROM generate_series(1, 1500) n;
INSERT INTO finance."Monthly Revenue" SELECT date '2026-01-01' + n * 31, 1000 * n, 800 * n FROM generate_series(0, 6) n;
