-- One row for each week: what was ordered, by whom, what was paid and what came back.
with paid as (
    select order_id, sum(amount) as cents
    from raw_payments
    group by order_id
)

select
    cast(date_trunc('week', orders.order_date) as date) as week,
    count(*) as orders,
    count(distinct orders.user_id) as customers,
    cast(sum(case when orders.status in ('returned', 'return_pending') then 1 else 0 end) as integer) as returned,
    cast(sum(paid.cents) / 100.0 as decimal(12, 2)) as paid_usd,
    min(customers.first_name) as a_customer
from raw_orders as orders
left join paid on paid.order_id = orders.id
left join raw_customers as customers on customers.id = orders.user_id
where orders.order_date >= cast(:since as date)
group by 1
